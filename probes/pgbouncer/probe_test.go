package pgbouncer_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/pgbouncer"
	"github.com/rollwatch/rollwatch/probes/probe"
)

func TestMain(m *testing.M) { live.Main(m) }

func open(t *testing.T, url string) probe.Probe {
	t.Helper()
	p, err := (&pgbouncer.Config{Name: "pool", URL: probe.NewSecret(url)}).Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func read(t *testing.T, p probe.Probe) probe.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	r, err := p.Read(ctx)
	require.NoError(t, err)
	for _, v := range r.Views {
		require.Equal(t, probe.ViewRead, v.State, "%s: %v", v.Name, v.Err)
	}
	for _, s := range r.Samples {
		require.Contains(t, pgbouncer.Metrics, s.Metric)
		for i, name := range s.Metric.Labels {
			require.False(t, name == "database" && s.Labels[i] == "pgbouncer", "the console pools nothing")
		}
	}
	return r
}

// sum is the sum of a family over series that have these label values anywhere.
func sum(r probe.Reading, name string, with ...string) (total float64, n int) {
series:
	for _, s := range r.Samples {
		if s.Metric.Name != name {
			continue
		}
		for _, want := range with {
			found := false
			for _, have := range s.Labels {
				found = found || have == want
			}
			if !found {
				continue series
			}
		}
		total += s.Value
		n++
	}
	return total, n
}

// Twelve clients of a pool of two: two are served, ten wait, and it is told for
// how long. That some wait is no saturation; that they wait long is.
func TestClientsThatWaitForAPool(t *testing.T) {
	pg := live.Postgres(t)
	pool := pg.PgBouncer(t, "default_pool_size=2", "pool_mode=transaction", "max_client_conn=77")
	p := open(t, pool.Console)
	r := read(t, p)
	require.NotEmpty(t, r.Details["version"])
	limit, _ := sum(r, "pgbouncer_config_max_client_connections")
	require.Equal(t, 77.0, limit)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range 12 {
		conn, err := pgx.Connect(t.Context(), pool.URL+"&application_name=shop&default_query_exec_mode=simple_protocol")
		require.NoError(t, err)
		go func() {
			_, err := conn.Exec(ctx, "select pg_sleep(30)")
			conn.Close(context.WithoutCancel(ctx))
			done <- err
		}()
	}
	require.Eventually(t, func() bool {
		r = read(t, p)
		longest, _ := sum(r, "pgbouncer_pools_client_maxwait_seconds", "app")
		waiting, _ := sum(r, "pgbouncer_pools_client_waiting_connections", "app")
		return waiting == 10 && longest > 0.3
	}, 20*time.Second, 50*time.Millisecond)
	for name, want := range map[string]float64{
		"pgbouncer_pools_server_active_connections": 2, "pgbouncer_pools_client_active_connections": 2, "pgbouncer_databases_pool_size": 2,
		"pgbouncer_databases_current_connections": 2, "pgbouncer_databases_paused": 0,
	} {
		got, n := sum(r, name, "app")
		require.Equal(t, want, got, name)
		require.Equal(t, 1, n, name)
	}
	clients, _ := sum(r, "pgbouncer_client_connections", "shop")
	require.Equal(t, 12.0, clients)
	cancel()
	for range 12 {
		require.Error(t, <-done)
	}
	require.Eventually(t, func() bool {
		waited, _ := sum(read(t, p), "pgbouncer_stats_totals_client_wait_seconds_total", "app")
		return waited > 3 // ten that waited for a third of a second and more
	}, 10*time.Second, 50*time.Millisecond)
}

// Every family that is described is read.
func TestEveryFamilyIsRead(t *testing.T) {
	pg := live.Postgres(t)
	pool := pg.PgBouncer(t)
	conn, err := pgx.Connect(t.Context(), pool.URL+"&default_query_exec_mode=simple_protocol")
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), "select 1")
	require.NoError(t, err)
	got := map[string]bool{}
	for _, s := range read(t, open(t, pool.Console)).Samples {
		got[s.Metric.Name] = true
	}
	for _, m := range pgbouncer.Metrics {
		require.True(t, got[m.Name], m.Name)
	}
}

// A pooler that hangs costs a reading its deadline, one that was restarted costs
// nothing, and one that is gone says so; a user who may not look is told.
func TestAPoolerThatIsNotWell(t *testing.T) {
	pg := live.Postgres(t)
	pool := pg.PgBouncer(t)
	p := open(t, pool.Console)
	read(t, p)
	pool.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := p.Read(ctx)
	require.Error(t, err)
	pool.Thaw(t)
	read(t, p)

	pool.Stop(t)
	_, err = p.Read(t.Context())
	require.ErrorContains(t, err, "refused")
	require.NotContains(t, err.Error(), "\n")
	pool.Start(t)
	read(t, p)

	_, err = open(t, "postgres://app@"+pool.Addr+"/pgbouncer?sslmode=disable").Read(t.Context())
	require.ErrorContains(t, err, "not allowed", "only stats_users may look")
}
