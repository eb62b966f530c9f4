package server_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAServerThatEndsAtOnceShowsItsLogAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	_, err := server.Run(t.Context(), server.Command{
		Name:  "a server",
		Argv:  func(string, string) []string { return []string{"sh", "-c", "echo 'no such option'; exit 1"} },
		Ready: func(context.Context, string) error { return context.DeadlineExceeded },
	})
	require.ErrorContains(t, err, "a server at 127.0.0.1:")
	require.ErrorContains(t, err, "ended before it answered")
	require.ErrorContains(t, err, "no such option")
	requireEmpty(t, os.TempDir())
}

func TestAServerWhosePortWasTakenMeanwhileGetsAnother(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var ports []string
	s, err := server.Run(t.Context(), server.Command{
		Name: "a server",
		Argv: func(_, port string) []string {
			ports = append(ports, port)
			if len(ports) == 1 {
				return []string{"sh", "-c", "echo 'bind: Address already in use'; exit 1"}
			}
			return []string{"sleep", "600"}
		},
		Ready: func(context.Context, string) error {
			if len(ports) == 1 {
				return context.DeadlineExceeded
			}
			return nil
		},
		Stop: syscall.SIGTERM,
	})
	require.NoError(t, err)
	require.Len(t, ports, 2)
	require.Equal(t, "127.0.0.1:"+ports[1], s.Addr)

	require.ErrorContains(t, s.Start(t.Context()), "runs already")
	require.NoError(t, s.Freeze())
	require.NoError(t, s.Stop(), "a frozen server can be stopped")
	require.NoError(t, s.Stop(), "twice")
	require.NoError(t, s.Close())
	requireEmpty(t, os.TempDir())
}

func TestWhatIsMadeOnceIsMadeByOne(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	made := filepath.Join(t.TempDir(), "made")
	var makers atomic.Int32
	var together sync.WaitGroup
	for range 8 {
		together.Go(func() {
			err := server.Once(made, func() error {
				makers.Add(1)
				return os.WriteFile(made, nil, 0o600)
			})
			require.NoError(t, err)
		})
	}
	together.Wait()
	require.EqualValues(t, 1, makers.Load())
}

func requireEmpty(t *testing.T, folder string) {
	t.Helper()
	left, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Empty(t, left)
}
