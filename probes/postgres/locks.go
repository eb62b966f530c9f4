package postgres

import (
	"fmt"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	lockCount = &probe.Metric{
		Name: "pg_locks_count", Type: probe.Gauge, Labels: []string{"datname", "mode"},
		Help:   "How many locks are held or waited for in the database, by mode; a mode that nobody has is 0.",
		Source: "pg_locks",
		Note:   "The name is postgres_exporter's, though gauges should not end in _count. The hundred databases with most backends only.",
	}
	lockMetrics = []*probe.Metric{lockCount}
)

// lockModes are the modes of locks, as pg_locks names them.
var lockModes = []string{
	"AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
	"ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock", "SIReadLock",
}

// locksSQL has a row for each database and a column for each mode. A database
// without locks has zeros, so that an alert on a sum finds series.
func locksSQL(here) string {
	counts, sums := make([]string, len(lockModes)), make([]string, len(lockModes))
	for i, mode := range lockModes {
		counts[i] = fmt.Sprintf("count(*) FILTER (WHERE mode = '%s') AS n%d", mode, i)
		sums[i] = fmt.Sprintf("coalesce(l.n%d, 0)::float8 AS n%[1]d", i)
	}
	return `SELECT d.datname::text, ` + strings.Join(sums, ", ") + `
	FROM (SELECT datid, datname FROM pg_stat_database WHERE datid <> 0 AND datname NOT LIKE 'template_'
		ORDER BY numbackends DESC, datid LIMIT ` + number(mostDatabases) + `) d
	LEFT JOIN (SELECT database, ` + strings.Join(counts, ", ") + ` FROM pg_locks GROUP BY database) l ON l.database = d.datid`
}

func takeLocks(c *cycle, r *rows) error {
	counts := make([]float64, len(lockModes))
	var database string
	into := []any{&database}
	for i := range counts {
		into = append(into, &counts[i])
	}
	for r.Next() {
		if err := scan(r, into...); err != nil {
			return err
		}
		for i, mode := range lockModes {
			c.add(lockCount.Sample(counts[i], database, strings.ToLower(mode)))
		}
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
