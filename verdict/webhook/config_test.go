package webhook

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
)

// vector is the secret of the standard's own test vector.
const vector = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func sound() Config {
	return Config{Name: "deployer", URL: probe.NewSecret("https://deployer.example.com/hook?token=t0k3n"), Secret: probe.NewSecret(vector)}
}

func TestConfigFaults(t *testing.T) {
	require.Empty(t, sound().Validate())
	short := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23))
	for path, changes := range map[string][]func(*Config){
		"$.name": {func(c *Config) { c.Name = "" }},
		"$.kind": {func(c *Config) { c.Kind = "pigeon" }},
		"$.url": {
			func(c *Config) { c.URL = probe.NewSecret("ftp://host/x") },
			func(c *Config) { c.URL = probe.NewSecret("deployer/hook") },
			func(c *Config) { c.URL = probe.NewSecret("http://") },
		},
		"$.secret_file": {func(c *Config) { c.Secret = probe.Secret{} }},
		"$.secret": {
			func(c *Config) { c.SecretFile = "/run/secrets/x" },
			func(c *Config) { c.Secret = probe.NewSecret("hunter2") },
			func(c *Config) { c.Secret = probe.NewSecret("whsec_***") },
			func(c *Config) { c.Secret = probe.NewSecret(vector + " " + short) },
		},
		"$.events[1]": {func(c *Config) { c.Events = []verdict.EventType{verdict.VerdictFinal, "verdict.maybe"} }},
	} {
		for i, change := range changes {
			c := sound()
			change(&c)
			faults := c.Validate()
			require.Len(t, faults, 1, "%s %d", path, i)
			require.Equal(t, path, faults[0].Path)
			require.NotContains(t, fmt.Sprint(faults), "hunter2")
			require.NotEmpty(t, faults[0].Cure)
		}
	}
}

func TestConfigFromYAML(t *testing.T) {
	var c Config
	text := "name: deployer\nurl: https://host/hook\nsecret: " + vector + "\nevents: [verdict.final]\n"
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(text), &c, yaml.Strict()))
	require.Empty(t, c.Validate())
	require.Equal(t, []verdict.Endpoint{{Name: "deployer", Events: []verdict.EventType{verdict.VerdictFinal}}}, Endpoints([]Config{c}))
	shown, err := yaml.Marshal(c)
	require.NoError(t, err)
	require.NotContains(t, string(shown), vector)
}

func TestSecretsAreReadAgainFromTheirFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	c := Config{SecretFile: path}
	_, err := c.secrets()
	require.ErrorContains(t, err, path)

	require.NoError(t, os.WriteFile(path, []byte(vector+"\n"), 0o600))
	got, err := c.secrets()
	require.NoError(t, err)
	require.Equal(t, []string{vector}, got)

	other := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	require.NoError(t, os.WriteFile(path, []byte(other+"\n"+vector+"\n"), 0o600))
	got, err = c.secrets()
	require.NoError(t, err)
	require.Equal(t, []string{other, vector}, got)

	require.NoError(t, os.WriteFile(path, []byte("hunter2\n"), 0o600))
	_, err = c.secrets()
	require.ErrorContains(t, err, "does not begin with whsec_")
	require.NotContains(t, err.Error(), "hunter2")
}
