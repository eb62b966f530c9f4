package live_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

func TestMain(m *testing.M) { live.Main(m) }

// ask reads one value, within a limit that tells a frozen server from a slow one.
func ask[T any](t *testing.T, url, sql string) (value T, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return value, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, sql).Scan(&value)
	return value, err
}

func TestAStandbyStreamsFromItsPrimaryUntilItIsPromoted(t *testing.T) {
	primary := live.Postgres(t, "max_connections=17")
	limit, err := ask[string](t, primary.URL, "show max_connections")
	require.NoError(t, err)
	require.Equal(t, "17", limit)

	standby := primary.Standby(t, "max_connections=17")
	primary.Exec(t, "create table seen (by text)")
	require.Eventually(t, func() bool {
		_, err := ask[int](t, standby.URL, "select count(*) from seen")
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	slot, err := ask[string](t, primary.URL, "select slot_name::text from pg_replication_slots where active")
	require.NoError(t, err)
	require.Equal(t, standby.Name, slot)

	standby.Promote(t)
	standby.Exec(t, "insert into seen values ($1)", "the new primary")
}

func TestAFrozenPostgresAcceptsAndNeverAnswersUntilItIsThawed(t *testing.T) {
	postgres := live.Postgres(t)
	conn, err := pgx.Connect(t.Context(), postgres.URL)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))

	postgres.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, conn.Ping(ctx), context.DeadlineExceeded, "a session that was open before hangs too")

	postgres.Thaw(t)
	one, err := ask[int](t, postgres.URL, "select 1")
	require.NoError(t, err)
	require.Equal(t, 1, one)
}

func TestAServerKeepsItsDataAndItsAddressWhenItIsStoppedOrKilled(t *testing.T) {
	for name, end := range map[string]func(*live.PG, testing.TB){"stopped": (*live.PG).Stop, "killed": (*live.PG).Kill} {
		t.Run(name, func(t *testing.T) {
			postgres := live.Postgres(t)
			postgres.Exec(t, "create table kept (n int); insert into kept values (42); checkpoint")
			end(postgres, t)
			requireClosed(t, postgres.Addr)

			postgres.Start(t)
			n, err := ask[int](t, postgres.URL, "select n from kept")
			require.NoError(t, err)
			require.Equal(t, 42, n)
		})
	}
}

func TestRedisTakesItsOwnArgumentsAndHasReplicas(t *testing.T) {
	redis := live.Redis(t, "--maxmemory-policy", "noeviction", "--requirepass", "s3cret")
	require.Equal(t, map[any]any{"maxmemory-policy": "noeviction"}, redis.Do(t, "CONFIG", "GET", "maxmemory-policy"))

	open := live.Redis(t)
	replica := open.Replica(t)
	open.Do(t, "SET", "greeting", "hello")
	require.EqualValues(t, 1, open.Do(t, "WAIT", 1, 5000))
	require.Equal(t, "hello", replica.Do(t, "GET", "greeting"))
}

func TestAHangingListenerAcceptsAndNeverAnswers(t *testing.T) {
	conn, err := net.Dial("tcp", live.Hang(t))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("PING\r\n"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, err = conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func requireClosed(t *testing.T, addr string) {
	t.Helper()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, 15*time.Second, 20*time.Millisecond, "%s still listens", addr)
}
