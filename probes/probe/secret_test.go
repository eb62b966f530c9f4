package probe_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// However a configuration is printed, the password in it is not.
func TestSecretDoesNotPrint(t *testing.T) {
	secret := probe.NewSecret("hunter2")
	entry := struct{ URL, url probe.Secret }{secret, secret}
	asJSON, err := json.Marshal(secret)
	require.NoError(t, err)
	asText, err := secret.MarshalText()
	require.NoError(t, err)

	for _, shown := range []string{
		fmt.Sprint(entry), fmt.Sprintf("%v %+v %#v %s %q %x", entry, entry, entry, secret, secret, secret),
		string(asJSON), string(asText),
	} {
		require.NotContains(t, shown, "hunter2")
		require.NotContains(t, shown, fmt.Sprintf("%x", "hunter2"))
	}
	require.Equal(t, "hunter2", secret.Reveal())
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestReadSecretFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}

	secret, err := probe.ReadSecretFile(file("good", " pass word \r\n"))
	require.NoError(t, err)
	require.Equal(t, " pass word ", secret.Reveal(), "only the line end goes")

	_, err = probe.ReadSecretFile(file("empty", "\n"))
	require.ErrorContains(t, err, "is empty")
	_, err = probe.ReadSecretFile(file("dump", strings.Repeat("x", 65<<10)))
	require.ErrorContains(t, err, "is larger than")
	_, err = probe.ReadSecretFile(filepath.Join(dir, "gone"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
