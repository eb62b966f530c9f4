package postgres

import (
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// known are the startup parameters that a PgBouncer takes by default.
var known = []string{"user", "database", "application_name", "client_encoding", "datestyle", "timezone", "standard_conforming_strings"}

// pooler stands in front of a server and treats unknown startup parameters as
// PgBouncer does: it refuses them, or drops them where ignore_startup_parameters
// names them. It returns its address.
func pooler(t *testing.T, server string, ignore bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			clients.Go(func() {
				defer client.Close()
				pool(client, server, ignore)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		clients.Wait()
	})
	return listener.Addr().String()
}

// pool takes one client through its start and then carries its bytes.
func pool(client net.Conn, server string, ignore bool) {
	front := pgproto3.NewBackend(client, client)
	message, err := front.ReceiveStartupMessage()
	startup, ok := message.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	for name := range startup.Parameters {
		if slices.Contains(known, strings.ToLower(name)) {
			continue
		}
		if !ignore {
			front.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: " + name})
			_ = front.Flush()
			return
		}
		delete(startup.Parameters, name)
	}
	back, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer back.Close()
	packet, err := startup.Encode(nil)
	if _, writeErr := back.Write(packet); errors.Join(err, writeErr) != nil {
		return
	}
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(client, back) })
	_, _ = io.Copy(back, client)
	back.Close()
	answers.Wait()
}

// Behind a pooler the limits hold in each transaction, and stay with nobody.
func testPooler(t *testing.T, pg *live.PG) {
	t.Helper()
	for name, ignore := range map[string]bool{"that refuses our settings": false, "that drops our settings": true} {
		t.Run(name, func(t *testing.T) {
			u, err := url.Parse(pg.URL)
			require.NoError(t, err)
			u.Host = pooler(t, pg.Addr, ignore)
			p := open(t, u.String())
			read(t, p)
			conn := p.(*reader).session.conn
			for setting, free := range map[string]string{
				"statement_timeout": "0", "lock_timeout": "0", "transaction_read_only": "off", "default_transaction_read_only": "off",
			} {
				var left string
				require.NoError(t, conn.QueryRow(t.Context(), "SHOW "+setting).Scan(&left))
				require.Equal(t, free, left, "%s would poison the next client of the server connection", setting)
			}

			locker := connectTo(t, pg.URL)
			exec(t, locker, "BEGIN; LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE")
			r := read(t, p)
			require.Equal(t, probe.ViewFailed, stateOfView(r, "activity"), "the limit on locks holds")
			require.Equal(t, probe.ViewRead, stateOfView(r, "replication"))
			exec(t, locker, "ROLLBACK")
		})
	}
}

// Through PgBouncer itself, whichever way it pools, everything is read.
func TestThroughPgBouncer(t *testing.T) {
	pg := live.Postgres(t)
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			pool := pg.PgBouncer(t, "pool_mode="+mode)
			p := open(t, pool.URL)
			for range 3 {
				for _, v := range read(t, p).Views {
					require.Contains(t, []probe.ViewState{probe.ViewRead, probe.ViewAbsent}, v.State, "%s: %v", v.Name, v.Err)
				}
			}
			discover(t, p)
			require.NotEmpty(t, values(read(t, p), named("pg_database_size_bytes")))
			exec(t, connectTo(t, pool.URL+"&default_query_exec_mode=simple_protocol"), "CREATE TABLE written_"+mode+" ()")
		})
	}
}
