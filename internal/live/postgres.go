package live

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

// A PG is a PostgreSQL server, primary or standby. Its database is app, its
// superuser postgres without a password.
type PG struct {
	control

	Addr string // host:port
	URL  string // of database app, as superuser
	Name string // a standby's application_name, which is also its slot's name

	server *server.Postgres
}

// Postgres runs a PostgreSQL primary. Settings are name=value as in
// postgresql.conf: "max_connections=10".
func Postgres(tb testing.TB, settings ...string) *PG {
	tb.Helper()
	p, err := server.StartPostgres(tb.Context(), settings...)
	need(tb, err)
	return newPG(tb, p)
}

// Majors are the versions of PostgreSQL that PostgresOf runs: the oldest and the
// newest that are read, and what lies between them and the machine's own.
var Majors = []int{13, 14, 17, 18}

// PostgresOf runs a primary of one of the Majors, which npm brings. It has no
// programs beside the server: no standby can be made of it.
func PostgresOf(tb testing.TB, major int, settings ...string) *PG {
	tb.Helper()
	folder := filepath.Join(sourceFolder(), "node")
	need(tb, installNode(folder))
	p, err := server.StartPostgresFrom(tb.Context(), filepath.Join(folder, "node_modules", fmt.Sprintf("postgres%d", major), "native"), settings...)
	need(tb, err)
	return newPG(tb, p)
}

// Standby runs a standby that streams from p through a slot of its own.
func (p *PG) Standby(tb testing.TB, settings ...string) *PG {
	tb.Helper()
	standby, err := p.server.StartStandby(tb.Context(), settings...)
	need(tb, err)
	return newPG(tb, standby)
}

func newPG(tb testing.TB, p *server.Postgres) *PG {
	tb.Helper()
	closeAfter(tb, "PostgreSQL", p.Server)
	return &PG{control: control{p.Server}, Addr: p.Addr, URL: p.URL, Name: p.Name, server: p}
}

// Exec runs one statement, or several without arguments, on a connection of its own.
func (p *PG) Exec(tb testing.TB, sql string, args ...any) {
	tb.Helper()
	ctx, cancel := within()
	defer cancel()
	conn, err := pgx.Connect(ctx, p.URL)
	need(tb, err)
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		tb.Fatalf("live: %s: %v", sql, err)
	}
}

// Promote makes a primary of a standby, and returns when it is one.
func (p *PG) Promote(tb testing.TB) {
	tb.Helper()
	p.Exec(tb, "select pg_promote(true, 30)")
}
