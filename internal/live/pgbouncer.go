package live

import (
	"testing"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

// A Pooler is a PgBouncer in front of a PostgreSQL.
type Pooler struct {
	control

	Addr    string // host:port
	URL     string // of database app, through the pool
	Console string // of its admin console, as a user who may look and change nothing
}

// PgBouncer runs a PgBouncer in front of p. Settings are name=value as in the
// section [pgbouncer] of its configuration: "default_pool_size=2".
func (p *PG) PgBouncer(tb testing.TB, settings ...string) *Pooler {
	tb.Helper()
	s, err := server.StartPgBouncer(tb.Context(), p.server, settings...)
	need(tb, err)
	closeAfter(tb, "PgBouncer", s)
	return &Pooler{
		control: control{s}, Addr: s.Addr,
		URL:     "postgres://app@" + s.Addr + "/app?sslmode=disable",
		Console: "postgres://stats@" + s.Addr + "/pgbouncer?sslmode=disable",
	}
}
