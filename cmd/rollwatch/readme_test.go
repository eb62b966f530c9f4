package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every configuration that README shows is one that loads, with nothing left out.
func TestReadmeShowsConfigurationsThatLoad(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(readme, -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		file := filepath.Join(t.TempDir(), "rollwatch.yml")
		require.NoError(t, os.WriteFile(file, block[1], 0o600))
		config, err := configLoader{file: file, lookup: environment(map[string]string{
			"DATABASE_URL": "postgres://127.0.0.1/app", "REDIS_URL": "redis://127.0.0.1:6379/0",
		})}.load()
		require.NoError(t, err)
		require.Empty(t, config.Notices)
	}
}
