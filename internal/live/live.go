// Package live gives tests real servers: PostgreSQL with streaming standbys,
// Redis, BullMQ in two majors, Prometheus and Alertmanager. Each is on a free
// loopback port, in a folder of its own, and gone when the test ends, also when
// the test panics or is killed. A server that this machine does not have makes
// the test fail, never skip: a skipped test proves nothing and looks green.
package live

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

// patience is how long a request to one of our servers may take.
const patience = 30 * time.Second

// Main is TestMain for packages that use live servers: it runs the tests and
// fails if they leave a goroutine behind. Each server that runs has one, so a
// server that was left running is found too.
//
//	func TestMain(m *testing.M) { live.Main(m) }
func Main(m *testing.M) { goleak.VerifyTestMain(m) }

// FreePort returns a loopback port on which nobody listens.
func FreePort(tb testing.TB) string {
	tb.Helper()
	port, err := server.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

// Hang listens on loopback, accepts every connection and never answers one. It
// returns its host:port.
func Hang(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(server.Host, "0"))
	if err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	var held []net.Conn // a connection that nobody holds is closed by the garbage collector
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			held = append(held, conn)
		}
	}()
	tb.Cleanup(func() {
		listener.Close()
		<-done
		for _, conn := range held {
			conn.Close()
		}
	})
	return listener.Addr().String()
}

// sourceFolder is where this file is: the Node driver lies beside it.
func sourceFolder() string {
	_, file, _, _ := runtime.Caller(0) //nolint:dogsled // only the file is wanted
	return filepath.Dir(file)
}

// need ends the test when a server did not start, and says how to get one that
// is not installed.
func need(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case errors.Is(err, server.ErrNotInstalled):
		tb.Fatalf("live: %v: run `make setup`, which installs what the tests need", err)
	case err != nil:
		tb.Fatalf("live: %v", err)
	}
}

// closeAfter closes a server when the test ends, and shows its log if the test failed.
func closeAfter(tb testing.TB, name string, s *server.Server) {
	tb.Helper()
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the log of %s at %s ends:\n%s", name, s.Addr, s.Log())
		}
		if err := s.Close(); err != nil {
			tb.Errorf("live: %v", err)
		}
	})
}

// within is a context for one request to a server, also in a Cleanup, where
// the test's own context has ended.
func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// A control starts and stops a server on behalf of a test.
type control struct{ s *server.Server }

// Freeze stops every process of the server (SIGSTOP): its connections stay
// open and nothing answers. The server is thawed when it is closed.
func (c control) Freeze(tb testing.TB) { tb.Helper(); need(tb, c.s.Freeze()) }

// Thaw lets a frozen server go on.
func (c control) Thaw(tb testing.TB) { tb.Helper(); need(tb, c.s.Thaw()) }

// Stop ends the server in good order; it keeps its data and its address.
func (c control) Stop(tb testing.TB) { tb.Helper(); need(tb, c.s.Stop()) }

// Kill ends the server by SIGKILL; it keeps its data and its address.
func (c control) Kill(tb testing.TB) { tb.Helper(); need(tb, c.s.Kill()) }

// Start runs a stopped or killed server again and returns when it answers.
func (c control) Start(tb testing.TB) { tb.Helper(); need(tb, c.s.Start(tb.Context())) }
