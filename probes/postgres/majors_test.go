package postgres

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// What a version does not have is absent, and nothing is denied or fails: as a
// member of pg_monitor, on a primary with a table and somebody who waits.
func TestEveryMajor(t *testing.T) {
	for _, major := range live.Majors {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			pg := live.PostgresOf(t, major)
			pg.Exec(t, `CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor; CREATE TABLE orders (id serial PRIMARY KEY);
				INSERT INTO orders SELECT FROM generate_series(1, 100); ANALYZE orders; SELECT pg_create_physical_replication_slot('left', true)`)
			config := &Config{Name: "main", URL: probe.NewSecret(as(t, pg.URL, url.User("monitor"))), Tables: 5, Indexes: 5}
			p := openConfig(t, config)
			discover(t, p)
			r := read(t, p)
			absent := map[string]bool{
				"recovery": true, "wal_receiver": true, "checkpointer": major < 17, "statements": true,
				"timescaledb": true, "hypertables": true, "hypertable_sizes": true, "timescaledb_jobs": true, "continuous_aggregates": true,
				"migrations_prisma": true, "migrations_drizzle": true, "migrations_goose": true,
			}
			for _, v := range r.Views {
				want := probe.ViewRead
				if absent[v.Name] {
					want = probe.ViewAbsent
				}
				require.Equal(t, want, v.State, "%s: %v", v.Name, v.Err)
			}
			for _, s := range r.Samples {
				if s.Metric == static {
					require.True(t, strings.HasPrefix(s.Labels[0], fmt.Sprint(major, ".")), s.Labels[0])
				}
			}
			require.EqualValues(t, 50, value(t, r, maxConnections))
			require.Zero(t, value(t, r, named("pg_replication_slots_active"), "slot_name", "left"))
			if major >= 17 {
				require.NotEmpty(t, values(r, named("pg_stat_checkpointer_num_timed_total")))
			} else {
				require.NotEmpty(t, values(r, named("pg_stat_bgwriter_checkpoints_timed_total")))
			}
			require.Len(t, values(r, reserved), number01(major >= 16))
			require.Eventually(t, func() bool { // statistics are written when a session ends, or a little later
				discover(t, p)
				inserted := values(read(t, p), named("pg_stat_user_tables_n_tup_ins"), "relname", "orders")
				return len(inserted) == 1 && inserted[0] == 100
			}, 10*time.Second, 50*time.Millisecond)
		})
	}
}

func number01(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
