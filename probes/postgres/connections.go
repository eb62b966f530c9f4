package postgres

import (
	"github.com/jackc/pgx/v5"

	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	backends = &probe.Metric{
		Name: "pg_stat_database_numbackends", Type: probe.Gauge, Labels: []string{"datid", "datname"},
		Help:   "How many backends are connected to the database; readable without pg_monitor.",
		Source: "pg_stat_database",
		Note:   "The hundred databases with most backends only.",
	}
	connectionMetrics = []*probe.Metric{backends}
)

// connectionsSQL counts without knowing states, as any role may.
func connectionsSQL(int) string {
	return `SELECT datid::text, datname::text, numbackends::float8
	FROM pg_stat_database WHERE datname IS NOT NULL
	ORDER BY numbackends DESC, datid LIMIT 100`
}

func takeConnections(c *cycle, rows pgx.Rows) error {
	for rows.Next() {
		var id, name string
		var n float64
		if err := scan(rows, &id, &name, &n); err != nil {
			return err
		}
		c.add(backends.Sample(n, id, name))
	}
	return nil
}
