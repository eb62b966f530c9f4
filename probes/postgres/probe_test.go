package postgres

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

var plainUser = url.User("plain")

const ourSessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rollwatch'"

// What is read of one primary is what the test did to it.
func TestPrimary(t *testing.T) {
	pg := live.Postgres(t, "max_connections=30", "superuser_reserved_connections=4")
	admin := connectTo(t, pg.URL)
	exec(t, admin, "CREATE ROLE plain LOGIN; CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor")
	p := open(t, as(t, pg.URL, url.User("monitor")))

	t.Run("says what it is", func(t *testing.T) {
		r := read(t, p)
		require.Equal(t, "primary", r.Details["role"])
		require.Zero(t, value(t, r, isReplica))
		require.EqualValues(t, 30, value(t, r, maxConnections))
		require.EqualValues(t, 4, value(t, r, superuserReserved))
		require.EqualValues(t, 1, value(t, r, static, "short_version", r.Details["version"].(string)))
		require.Positive(t, value(t, r, roundTrip))
		require.Zero(t, value(t, r, standbyCount))
		require.InDelta(t, time.Now().Unix(), value(t, r, startTime), 120)
		for _, name := range []string{"server", "database", "activity", "replication", "slots"} {
			require.Equal(t, probe.ViewRead, stateOfView(r, name), name)
		}
		for _, name := range []string{"recovery", "wal_receiver"} {
			require.Equal(t, probe.ViewAbsent, stateOfView(r, name), name)
		}
	})

	t.Run("counts connections by state", func(t *testing.T) {
		app := as(t, pg.URL, url.User("postgres"), "application_name", "shop")
		for range 3 {
			connectTo(t, app)
		}
		connectTo(t, strings.Replace(app, "/app?", "/postgres?", 1))
		exec(t, connectTo(t, app), "BEGIN")
		exec(t, connectTo(t, app), "BEGIN; SELECT pg_sleep(0.2)")
		r := eventually(t, p, "an old transaction", func(r probe.Reading) bool {
			oldest := values(r, activityTransaction, "application_name", "shop", "state", "idle in transaction")
			return len(oldest) == 1 && oldest[0] > 0.3
		})
		require.Equal(t, []float64{1}, values(r, activityCount, "datname", "postgres"), "no zeros for other databases")
		require.EqualValues(t, 3, total(r, activityCount, "application_name", "shop", "state", "idle", "datname", "app"))
		require.EqualValues(t, 2, total(r, activityCount, "application_name", "shop", "state", "idle in transaction"))
		require.EqualValues(t, 1, total(r, activityCount, "application_name", "rollwatch", "state", "active", "usename", "monitor"))
		require.Empty(t, values(r, activityTransaction, "application_name", "shop", "state", "idle"), "no transaction is not one of 0 seconds")
		require.Zero(t, value(t, r, activityCount, "datname", "app", "state", "idle in transaction (aborted)"))
		require.EqualValues(t, queryInt(t, admin, "SELECT numbackends FROM pg_stat_database WHERE datname = 'app'"),
			value(t, r, named("pg_stat_database_numbackends"), "datname", "app"))
	})

	t.Run("keeps one session, and cannot write with it", func(t *testing.T) {
		for range 5 {
			read(t, p)
		}
		require.EqualValues(t, 1, queryInt(t, admin, ourSessions))
		_, err := p.(*reader).session.conn.Exec(t.Context(), "CREATE TABLE written ()")
		require.ErrorContains(t, err, "read-only transaction")
		require.Zero(t, queryInt(t, admin, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rollwatch' AND state LIKE 'idle in%'"),
			"an open transaction would hold back vacuum")
	})

	t.Run("a locked table holds nothing up", func(t *testing.T) {
		locker := connectTo(t, pg.URL)
		exec(t, locker, "CREATE TABLE big (id int); BEGIN; LOCK TABLE big IN ACCESS EXCLUSIVE MODE")
		start := time.Now()
		read(t, p)
		require.Less(t, time.Since(start), 2*time.Second)
		exec(t, locker, "ROLLBACK")
	})

	t.Run("a view that is blocked costs only itself", func(t *testing.T) {
		locker := connectTo(t, pg.URL)
		exec(t, locker, "BEGIN; LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE")
		for range 2 {
			r := read(t, p)
			require.Equal(t, probe.ViewFailed, stateOfView(r, "activity"))
			require.Equal(t, probe.ViewRead, stateOfView(r, "replication"), "it needs no pg_database")
			require.Empty(t, values(r, activityCount))
			require.EqualValues(t, 30, value(t, r, maxConnections))
		}
		exec(t, locker, "ROLLBACK")
		eventually(t, p, "what was set aside is read again", func(r probe.Reading) bool {
			return !slices.ContainsFunc(r.Views, func(v probe.View) bool { return v.State == probe.ViewFailed })
		})
		require.Empty(t, p.(*reader).asides)
		require.EqualValues(t, 1, queryInt(t, admin, ourSessions))
	})

	t.Run("without pg_monitor it says denied, not zero", func(t *testing.T) {
		poor := open(t, as(t, pg.URL, url.User("plain")))
		r := read(t, poor)
		for _, name := range []string{"activity", "replication"} {
			require.Equal(t, probe.ViewDenied, stateOfView(r, name), name)
		}
		require.Empty(t, values(r, activityCount))
		require.Empty(t, values(r, standbyCount))
		require.NotEmpty(t, values(r, named("pg_stat_database_numbackends")), "how many there are is no secret")
		for _, v := range r.Views {
			if v.State == probe.ViewDenied {
				require.ErrorContains(t, v.Err, `GRANT pg_monitor TO "plain"`)
			}
		}

		exec(t, admin, "GRANT pg_monitor TO plain")
		r = read(t, poor)
		require.Equal(t, probe.ViewRead, stateOfView(r, "activity"), "the cure works at once")
		require.NotEmpty(t, values(r, activityCount))
	})

	t.Run("what Prisma puts in its URL is not sent", func(t *testing.T) {
		read(t, open(t, as(t, pg.URL, url.User("monitor"),
			"schema", "public", "connection_limit", "5", "pgbouncer", "true", "pool_timeout", "10", "socket_timeout", "5",
			"statement_cache_size", "0", "connect_timeout", "5", "sslaccept", "strict", "application_name", "prisma")))
	})

	t.Run("limits its statements", func(t *testing.T) { testStatementTimeout(t, pg) })
	t.Run("stays harmless behind a pooler", func(t *testing.T) { testPooler(t, pg) })
	t.Run("follows its password", func(t *testing.T) { testPassword(t, pg) })
}

// A server that stops answering costs a reading its deadline and no more, and
// is read again when it goes on.
func TestFrozenServer(t *testing.T) {
	pg := live.Postgres(t)
	p := open(t, pg.URL)
	read(t, p)
	pg.Freeze(t)
	for range 3 {
		start := time.Now()
		_, err := tryRead(t, p, 300*time.Millisecond)
		require.ErrorContains(t, err, "no answer in time")
		require.Less(t, time.Since(start), 2*time.Second)
	}
	pg.Thaw(t)
	read(t, p)
	admin := connectTo(t, pg.URL)
	require.Eventually(t, func() bool { return queryInt(t, admin, ourSessions) == 1 }, 10*time.Second, 20*time.Millisecond,
		"the sessions that hung are gone")

	pg.Freeze(t)
	start := time.Now()
	require.NoError(t, p.Close())
	require.Less(t, time.Since(start), 2*closeWithin, "closing is quick also while the server does not answer")
}

// A server that was restarted between two readings was never down for us.
func TestRestartedServer(t *testing.T) {
	pg := live.Postgres(t)
	p := open(t, pg.URL)
	first := value(t, read(t, p), startTime)

	pg.Stop(t)
	_, err := tryRead(t, p, deadline)
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "\n", "an error is one line")
	pg.Start(t)
	require.Greater(t, value(t, read(t, p), startTime), first)

	pg.Stop(t)
	pg.Start(t)
	read(t, p)
}

// A server that accepts and never answers, as behind a broken load balancer.
func TestServerThatNeverAnswers(t *testing.T) {
	p := open(t, "postgresql://rollwatch:hunter2@"+live.Hang(t)+"/app")
	start := time.Now()
	_, err := tryRead(t, p, 200*time.Millisecond)
	require.ErrorContains(t, err, "no answer in time")
	require.NotContains(t, err.Error(), "hunter2")
	require.Less(t, time.Since(start), time.Second)
}

// A password that is wrong is said to be, and not shown; one that is rotated in
// its file works at the next connection.
func testPassword(t *testing.T, pg *live.PG) {
	t.Helper()
	pg.Exec(t, "CREATE ROLE keyed LOGIN PASSWORD 'first-key'")
	var hba string
	require.NoError(t, connectTo(t, pg.URL).QueryRow(t.Context(), "SHOW hba_file").Scan(&hba))
	require.NoError(t, os.WriteFile(hba, []byte("host all keyed 0.0.0.0/0 scram-sha-256\nhost all all 0.0.0.0/0 trust\n"), 0o600))
	pg.Exec(t, "SELECT pg_reload_conf()")

	urlFile := filepath.Join(t.TempDir(), "url")
	write := func(password string) {
		address := as(t, pg.URL, url.UserPassword("keyed", password))
		require.NoError(t, os.WriteFile(urlFile, []byte(address+"\n"), 0o600))
	}
	write("wrong-key")
	config := &Config{Name: "main", URLFile: urlFile}
	p := openConfig(t, config)
	_, err := tryRead(t, p, deadline)
	require.ErrorContains(t, err, `password authentication failed for user "keyed"`)
	for _, shown := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%v", p), fmt.Sprintf("%+v", config)} {
		require.NotContains(t, shown, "wrong-key")
	}

	write("first-key")
	read(t, p)

	pg.Exec(t, "ALTER ROLE keyed PASSWORD 'second-key'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'keyed'")
	_, err = tryRead(t, p, deadline)
	require.ErrorContains(t, err, "password authentication failed")
	write("second-key")
	read(t, p)
}

// The statements' own limit is a part of the reading's deadline, and never
// longer than it was configured.
func testStatementTimeout(t *testing.T, pg *live.PG) {
	t.Helper()
	for _, c := range []struct {
		configured, within time.Duration
		want               int64 // milliseconds
	}{
		{0, 3 * time.Second, 1000},
		{0, 900 * time.Millisecond, 300},
		{200 * time.Millisecond, 3 * time.Second, 200},
		{time.Minute, 3 * time.Second, 1000},
	} {
		config := &Config{Name: "main", URL: probe.NewSecret(pg.URL)}
		config.StatementTimeout.Set(c.configured.String())
		p := openConfig(t, config)
		_, err := tryRead(t, p, c.within)
		require.NoError(t, err)
		conn := p.(*reader).session.conn
		for setting, want := range map[string]int64{"statement_timeout": c.want, "lock_timeout": c.want / 4} {
			got := queryInt(t, conn, "SELECT setting::int8 FROM pg_settings WHERE name = '"+setting+"'")
			require.InDelta(t, want, got, float64(want)/10, setting)
		}
	}
}
