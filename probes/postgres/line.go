package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// A line holds the sockets of one session. pgx cancels a statement in the
// background for up to 15 seconds after its context has ended; hanging up ends
// that at once, so that a server that hangs collects no sockets of ours. The
// server ends the statement itself, by statement_timeout.
type line struct {
	mu    sync.Mutex
	down  bool
	calls []net.Conn
}

// dial is pgconn.Config.DialFunc.
func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.Join(net.ErrClosed, conn.Close())
	}
	l.calls = append(l.calls, conn)
	return conn, nil
}

// hangUp closes every socket and lets no other be opened.
func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, conn := range l.calls {
		_ = conn.Close() // there is nothing to lose
	}
	l.calls = nil
}
