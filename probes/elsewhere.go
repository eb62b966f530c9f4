package probes

import "strings"

// A NotHere is a series of an established exporter that is not read, on purpose.
type NotHere struct {
	Name string // or the beginning of names, followed by *
	Why  string
}

// Matches says whether a name is meant.
func (n NotHere) Matches(name string) bool {
	prefix, many := strings.CutSuffix(n.Name, "*")
	return name == n.Name || many && strings.HasPrefix(name, prefix)
}

// Elsewhere are those series. Whatever else people's dashboards ask for is in
// the Metrics of a Kind.
var Elsewhere = []NotHere{
	{"pg_replication_lag_seconds", "It is 0 as soon as what was received is replayed, also when the receiver is gone and the standby falls behind without end. " +
		"pg_replication_replay_lag_seconds says what it means to, and is absent while that is unknown."},
	{"pg_exporter_*", "Of the exporter itself: rollwatch_probe_duration_seconds and rollwatch_probe_up."},
	{"pg_scrape_collector_*", "Of the exporter itself: rollwatch_probe_view_state, by view."},
	{"postgres_exporter_*", "Of the exporter itself: rollwatch_build_info and rollwatch_config_last_reload_*."},
	{"redis_exporter_*", "Of the exporter itself; redis_exporter_last_scrape_error holds the text of the error in a label, which is a new series for each failure."},
	{"redis_target_scrape_request_errors_total", "Of the exporter itself: nothing is scraped on demand."},
	{"redis_last_key_groups_scrape_duration_milliseconds", "Keys are not counted by groups: that walks over all of them."},
	{"asynq_queue_memory_usage_approx_bytes", "To sample it takes up to 120 MEMORY USAGE a queue in a script that nobody else is served beside."},
	{"pgbouncer_exporter_*", "Of the exporter itself: rollwatch_build_info."},
}
