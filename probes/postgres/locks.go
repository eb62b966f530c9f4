package postgres

import "github.com/rollwatch/rollwatch/probes/probe"

var (
	lockCount = &probe.Metric{
		Name: "pg_locks_count", Type: probe.Gauge, Labels: []string{"datname", "mode"},
		Help:   "How many locks are held or waited for in the database, by mode; a mode that nobody has is 0.",
		Source: "pg_locks",
		Note:   "The name is postgres_exporter's, though gauges should not end in _count. The hundred databases with most backends only.",
	}
	lockMetrics = []*probe.Metric{lockCount}
)

// A database without locks has zeros, so that an alert on a sum finds series.
func locksSQL(here) string {
	return `SELECT d.datname::text, m.mode, count(l.mode)::float8
	FROM (SELECT datid, datname FROM pg_stat_database WHERE datid <> 0 AND datname NOT LIKE 'template_'
		ORDER BY numbackends DESC, datid LIMIT ` + number(mostDatabases) + `) d
	CROSS JOIN unnest(ARRAY['accesssharelock', 'rowsharelock', 'rowexclusivelock', 'shareupdateexclusivelock', 'sharelock',
		'sharerowexclusivelock', 'exclusivelock', 'accessexclusivelock', 'sireadlock']) m(mode)
	LEFT JOIN pg_locks l ON l.database = d.datid AND lower(l.mode) = m.mode
	GROUP BY 1, 2`
}

func takeLocks(c *cycle, r *rows) error {
	for r.Next() {
		var database, mode string
		var n float64
		if err := scan(r, &database, &mode, &n); err != nil {
			return err
		}
		c.add(lockCount.Sample(n, database, mode))
	}
	return nil
}

// mostWaiters bounds for how many sessions that wait it is found who blocks
// them: the server looks through all locks for each.
const mostWaiters = 50

var waiting = family{source: "pg_stat_activity, pg_locks, pg_blocking_pids()"}

var blockingColumns = []column{
	waiting.gauge("count(*)", "pg_blocked_sessions", "", "How many sessions wait for a lock that another session holds."),
	waiting.gauge("coalesce(max(w.waited), 0)", "pg_blocked_longest_seconds", "seconds", "How long the session has waited that waits for a lock the longest; 0 when none does."),
	waiting.gauge("(SELECT count(DISTINCT b) FROM w, unnest(w.blockers) b)", "pg_blocking_sessions", "", "How many sessions hold what others wait for."),
}

// Since PostgreSQL 14 the server knows since when a lock is waited for; before,
// the statement's start is the nearest to it.
func blockingSQL(at here) string {
	since := "(SELECT min(l.waitstart) FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted)"
	if at.version < 140000 {
		since = "NULL::timestamptz"
	}
	return `WITH w AS MATERIALIZED (
		SELECT extract(epoch FROM clock_timestamp() - coalesce(` + since + `, a.query_start)) AS waited, pg_blocking_pids(a.pid) AS blockers
		FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock' ORDER BY a.query_start LIMIT ` + number(mostWaiters) + `)
	SELECT ` + selected(at, blockingColumns) + ` FROM w`
}

func takeBlocking(c *cycle, r *rows) error {
	if !c.server.readsStats {
		return errDenied
	}
	return takeColumns(c, r, 0, blockingColumns)
}
