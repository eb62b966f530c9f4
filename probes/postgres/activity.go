package postgres

import (
	"slices"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// maxActivityGroups bounds the series of one metric of pg_stat_activity, whose
// labels hold what clients call themselves.
const maxActivityGroups = 200

// activityLabels are those of postgres_exporter.
var activityLabels = []string{"application_name", "backend_type", "datname", "state", "usename", "wait_event", "wait_event_type"}

var (
	activityCount = &probe.Metric{
		Name: "pg_stat_activity_count", Type: probe.Gauge, Labels: activityLabels,
		Help:   "How many sessions are connected to a database, by state.",
		Source: "pg_stat_activity",
		Note: "The name is postgres_exporter's, though gauges should not end in _count. " +
			"A state without sessions is 0 for the connected database only; beyond 200 groups the rest is counted under application_name=\"other\".",
	}
	activityTransaction = &probe.Metric{
		Name: "pg_stat_activity_max_tx_duration", Type: probe.Gauge, Labels: activityLabels,
		Help:   "How long the oldest open transaction of the group has been running, in seconds.",
		Source: "pg_stat_activity",
		Note:   "The name is postgres_exporter's, though it lacks the unit. A group without an open transaction has no value; postgres_exporter says 0.",
	}
	activityMetrics = []*probe.Metric{activityCount, activityTransaction}
)

// activityStates are the states that are 0 when no session is in them.
var activityStates = []string{
	"active", "idle", "idle in transaction", "idle in transaction (aborted)", "fastpath function call", "disabled",
}

func activitySQL(here) string {
	return `SELECT coalesce(application_name, ''), coalesce(backend_type, ''), datname::text, coalesce(state, ''),
	coalesce(usename::text, ''), coalesce(wait_event, ''), coalesce(wait_event_type, ''),
	count(*)::float8, max(extract(epoch FROM clock_timestamp() - xact_start))::float8,
	datname = current_database()
	FROM pg_stat_activity WHERE datname IS NOT NULL
	GROUP BY 1, 2, 3, 4, 5, 6, 7, 10
	ORDER BY 8 DESC, 1, 2, 3, 4, 5, 6, 7`
}

// An activityGroup is the sessions that share all labels.
type activityGroup struct {
	labels []string
	count  float64
	oldest *float64 // seconds
}

func takeActivity(c *cycle, rows *rows) error {
	if !c.server.readsStats {
		return errDenied
	}
	var groups []activityGroup
	seen := map[string]bool{}
	here := ""
	for rows.Next() {
		var g activityGroup
		var app, backend, db, state, user, event, eventType string
		var connectedHere bool
		if err := scan(rows, &app, &backend, &db, &state, &user, &event, &eventType, &g.count, &g.oldest, &connectedHere); err != nil {
			return err
		}
		g.labels = []string{app, backend, db, state, user, event, eventType}
		groups = append(groups, g)
		if connectedHere {
			here = db
			seen[state] = true
		}
	}
	for _, g := range fold(groups, maxActivityGroups) {
		c.add(activityCount.Sample(g.count, g.labels...))
		c.addKnown(activityTransaction, g.oldest, g.labels...)
	}
	for _, state := range activityStates {
		if here != "" && !seen[state] {
			c.add(activityCount.Sample(0, "", "", here, state, "", "", ""))
		}
	}
	return nil
}

// fold keeps the first most groups and adds the others up by database and state.
func fold(groups []activityGroup, most int) []activityGroup {
	if len(groups) <= most {
		return groups
	}
	kept := slices.Clone(groups[:most])
	rest := map[[2]string]int{} // database and state to the index in kept
	for _, g := range groups[most:] {
		key := [2]string{g.labels[2], g.labels[3]}
		i, found := rest[key]
		if !found {
			i = len(kept)
			rest[key] = i
			kept = append(kept, activityGroup{labels: []string{"other", "", key[0], key[1], "", "", ""}})
		}
		kept[i].count += g.count
		if g.oldest != nil && (kept[i].oldest == nil || *g.oldest > *kept[i].oldest) {
			kept[i].oldest = g.oldest
		}
	}
	return kept
}
