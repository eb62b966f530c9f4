package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheNewestVersionOffPathIsFound(t *testing.T) {
	t.Setenv("PATH", "")
	root := t.TempDir()
	for _, version := range []string{"9", "15", "17"} {
		folder := filepath.Join(root, version, "bin")
		require.NoError(t, os.MkdirAll(folder, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, "postgres"), nil, 0o600))
	}
	t.Chdir(root) // so that the versions are the first numbers in the paths
	found, err := find("postgres", "*/bin")
	require.NoError(t, err)
	require.Equal(t, filepath.Join("17", "bin", "postgres"), found)

	_, err = find("postgres", "nowhere")
	require.ErrorIs(t, err, ErrNotInstalled)
	require.ErrorContains(t, err, "postgres")
}

func TestAProcessNameMayHoldParentheses(t *testing.T) {
	parent, ok := parentOf(os.Getpid())
	require.True(t, ok)
	require.Equal(t, os.Getppid(), parent)
	require.NoError(t, os.WriteFile("/proc/self/comm", []byte("a) S 1 (b"), 0o600))
	parent, ok = parentOf(os.Getpid())
	require.True(t, ok)
	require.Equal(t, os.Getppid(), parent)
}
