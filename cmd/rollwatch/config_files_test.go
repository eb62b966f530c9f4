package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What config check approves, serve must start with: both read the files.
func TestCheckAndServeRefuseTheSameFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	bad := map[string]string{
		"missing": filepath.Join(dir, "nowhere"), "empty": file("empty", ""), "huge": file("huge", strings.Repeat("a", 1<<20)),
		"directory": dir, "binary": file("binary", "\x7fELF\x00\xff"), "pipe": pipe,
	}
	for section, text := range map[string]string{
		"postgres main: url_file":      `postgres: [{name: main, url_file: %q}]`,
		"redis main: password_file":    `redis: [{name: main, url: "redis://127.0.0.1:1", password_file: %q}]`,
		"webhooks deployer: secret_fi": "redis: [{name: main, url: \"redis://127.0.0.1:1\"}]\nwebhooks: [{name: deployer, url: \"http://127.0.0.1:1\", secret_file: %q}]",
		"api: ":                        "redis: [{name: main, url: \"redis://127.0.0.1:1\"}]\napi: {tokens_file: %q}",
	} {
		for kind, path := range bad {
			if section == "api: " && kind == "empty" {
				continue // nobody may write: odd, but it says what it means
			}
			config := file("rollwatch.yml", fmt.Sprintf(text, path)+"\ndata_dir: "+dir+"/data\n")
			code, stdout, checked := rollwatch(t, "config", "check", "--config.file", config)
			require.Equal(t, exitUsage, code, "%s %s: %s", section, kind, stdout)
			require.Contains(t, checked, section, kind)
			code, _, served := rollwatch(t, "serve", "--config.file", config, "--web.listen-address=127.0.0.1:0")
			require.Equal(t, exitUsage, code, served)
			require.Equal(t, checked, served)
		}
	}
}

func TestAConfigurationMustBeARegularFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err := configLoader{file: pipe, lookup: environment(nil)}.load()
	require.ErrorContains(t, err, "is not a regular file")
}

// A file that is no configuration at all must not keep a reload, and with it
// the end of the daemon, waiting.
func TestThousandsOfFaultsAreFoundInTime(t *testing.T) {
	took := func(keys int) time.Duration {
		var text strings.Builder
		for i := range keys {
			fmt.Fprintf(&text, "unknown%d: 1\n", i)
		}
		file := filepath.Join(t.TempDir(), "rollwatch.yml")
		require.NoError(t, os.WriteFile(file, []byte(text.String()), 0o600))
		began := time.Now()
		_, err := configLoader{file: file, lookup: environment(nil)}.load()
		require.Error(t, err)
		require.Less(t, len(strings.Split(err.Error(), "\n")), 60)
		return time.Since(began)
	}
	took(1000) // what is made once
	few, many := took(4000), took(40_000)
	t.Logf("4,000 unknown keys: %s, 40,000: %s", few, many)
	require.Less(t, many, 40*few, "it does not grow with the square")
}
