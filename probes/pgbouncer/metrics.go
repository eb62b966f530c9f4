package pgbouncer

import (
	"slices"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Up is 1 while the console answers.
var Up = &probe.Metric{
	Name: "pgbouncer_up", Type: probe.Gauge,
	Help: "Whether the last read of the admin console succeeded (1) or not (0).", Source: "the read itself",
}

const showVersion = "SHOW VERSION"

// A view is one command of the console, and what to make of its rows.
type view struct {
	command string
	take    func(table) []probe.Sample
}

var views = []view{
	{showVersion, takeVersion},
	{"SHOW LISTS", takeLists},
	{"SHOW POOLS", rowsOf(poolColumns, poolLabels)},
	{"SHOW DATABASES", rowsOf(databaseColumns, databaseLabels)},
	{"SHOW STATS", rowsOf(statColumns, []string{"database"})},
	{"SHOW CONFIG", takeConfig},
	{"SHOW CLIENTS", takeClients},
}

// A column of an answer is a metric by itself.
type column struct {
	name   string
	factor float64 // from the column's unit to the metric's
	more   string  // a column of millionths that belongs to it
	metric *probe.Metric
}

// Metrics are all families that the probe reads, besides Up.
var Metrics = func() []*probe.Metric {
	all := []*probe.Metric{versionInfo, clientConnections}
	for _, columns := range [][]column{poolColumns, databaseColumns, statColumns, lists, settings} {
		for _, c := range columns {
			all = append(all, c.metric)
		}
	}
	return all
}()

func gauge(from, name string, labels []string, source, help string) column {
	return column{from, 1, "", &probe.Metric{
		Name: "pgbouncer_" + name, Type: probe.Gauge, Labels: labels, Help: help, Source: source + " " + from,
	}}
}

func pool(from, name, help string) column {
	return gauge(from, "pools_"+name, poolLabels, "SHOW POOLS", help)
}

var poolLabels = []string{"database", "user"}

var poolColumns = []column{
	pool("cl_active", "client_active_connections", "Clients that have a server connection, or could."),
	pool("cl_waiting", "client_waiting_connections", "Clients that wait for a server connection; with fast queries some always do, so look at the wait."),
	pool("cl_active_cancel_req", "client_active_cancel_connections", "Clients whose cancel request was sent on."),
	pool("cl_waiting_cancel_req", "client_waiting_cancel_connections", "Clients whose cancel request was not sent on yet."),
	pool("sv_active", "server_active_connections", "Server connections that a client has."),
	pool("sv_active_cancel", "server_active_cancel_connections", "Server connections that carry a cancel request."),
	pool("sv_being_canceled", "server_being_canceled_connections", "Server connections that wait until a cancel request is through."),
	pool("sv_idle", "server_idle_connections", "Server connections that are free."),
	pool("sv_used", "server_used_connections", "Server connections that were idle for long and will be checked before they are used."),
	pool("sv_tested", "server_testing_connections", "Server connections that are being checked."),
	pool("sv_login", "server_login_connections", "Server connections that are logging in."),
	{"maxwait", 1, "maxwait_us", &probe.Metric{
		Name: "pgbouncer_pools_client_maxwait_seconds", Type: probe.Gauge, Unit: "seconds", Labels: poolLabels,
		Help: "How long the first client in line has waited: when it rises the pool is too small, or its servers are stuck.", Source: "SHOW POOLS maxwait, maxwait_us",
	}},
}

var databaseLabels = []string{"database", "force_user", "host", "name", "pool_mode", "port"}

var databaseColumns = []column{
	gauge("current_connections", "databases_current_connections", databaseLabels, "SHOW DATABASES", "Server connections of the database."),
	gauge("max_connections", "databases_max_connections", databaseLabels, "SHOW DATABASES", "Server connections of the database at most; 0 is no limit."),
	gauge("pool_size", "databases_pool_size", databaseLabels, "SHOW DATABASES", "Server connections of each pool of the database at most."),
	gauge("reserve_pool", "databases_reserve_pool", databaseLabels, "SHOW DATABASES", "Server connections that a pool may have besides when clients wait for long."),
	gauge("paused", "databases_paused", databaseLabels, "SHOW DATABASES", "Whether the database is paused."),
	gauge("disabled", "databases_disabled", databaseLabels, "SHOW DATABASES", "Whether the database takes no new clients."),
}

func total(from, name, unit string, factor float64, help string) column {
	return column{from, factor, "", &probe.Metric{
		Name: "pgbouncer_stats_totals_" + name + "_total", Type: probe.Counter, Unit: unit, Labels: []string{"database"}, Help: help, Source: "SHOW STATS " + from,
	}}
}

var statColumns = []column{
	total("total_query_count", "queries_pooled", "", 1, "Queries that went through."),
	total("total_xact_count", "sql_transactions_pooled", "", 1, "Transactions that went through."),
	total("total_query_time", "queries_duration_seconds", "seconds", 1e-6, "Time that queries took on servers."),
	total("total_xact_time", "server_in_transaction_seconds", "seconds", 1e-6, "Time that servers spent in transactions."),
	total("total_wait_time", "client_wait_seconds", "seconds", 1e-6, "Time that clients waited for a server connection; its rate is how many wait at a time."),
	total("total_received", "received_bytes", "bytes", 1, "Bytes that clients sent."),
	total("total_sent", "sent_bytes", "bytes", 1, "Bytes that were sent to clients."),
}

func list(item, name, help string) column {
	return gauge(item, name, nil, "SHOW LISTS", help)
}

var lists = []column{
	list("databases", "databases", "Databases that are known."),
	list("users", "users", "Users that are known."),
	list("pools", "pools", "Pools there are."),
	list("free_clients", "free_clients", "Client slots that are free."),
	list("used_clients", "used_clients", "Client slots in use."),
	list("login_clients", "login_clients", "Clients that are logging in."),
	list("free_servers", "free_servers", "Server slots that are free."),
	list("used_servers", "used_servers", "Server slots in use."),
	list("dns_names", "cached_dns_names", "Names of hosts that are cached."),
	list("dns_zones", "cached_dns_zones", "Zones that are cached."),
	list("dns_queries", "in_flight_dns_queries", "Queries for names under way."),
}

func setting(key, name, help string) column {
	return gauge(key, "config_"+name, nil, "SHOW CONFIG", help)
}

var settings = []column{
	setting("max_client_conn", "max_client_connections", "Clients at most."),
	setting("max_user_connections", "max_user_connections", "Server connections of a user at most; 0 is no limit."),
}

var (
	versionInfo = &probe.Metric{
		Name: "pgbouncer_version_info", Type: probe.Gauge, Labels: []string{"version"},
		Help: "Always 1; its label is the version.", Source: showVersion,
	}
	clientConnections = &probe.Metric{
		Name: "pgbouncer_client_connections", Type: probe.Gauge, Labels: []string{"application_name", "database", "state", "user"},
		Help: "Clients that are connected, by what they call themselves; beyond 200 groups the rest is counted under application_name=\"other\".", Source: "SHOW CLIENTS",
		Note: "Bounded: clients may call themselves something new each time.",
	}
)

func versionOf(t table) string {
	if len(t) == 0 {
		return ""
	}
	return t[0]["version"]
}

func takeVersion(t table) []probe.Sample {
	if versionOf(t) == "" {
		return nil
	}
	return []probe.Sample{versionInfo.Sample(1, versionOf(t))}
}

// console is the database of the console itself, which pools nothing.
const console = "pgbouncer"

// rowsOf makes samples of the rows of an answer, but for the console's own.
func rowsOf(columns []column, labels []string) func(table) []probe.Sample {
	return func(t table) []probe.Sample {
		var samples []probe.Sample
		for _, row := range t {
			if row["database"] == console || row["name"] == console {
				continue
			}
			values := make([]string, len(labels))
			for i, label := range labels {
				values[i] = row[label]
			}
			for _, c := range columns {
				if v, ok := number(row, c.name); ok {
					more, _ := number(row, c.more)
					samples = append(samples, c.metric.Sample(v*c.factor+more/1e6, values...))
				}
			}
		}
		return samples
	}
}

// pairs makes samples of an answer whose rows are a key and a value.
func pairs(t table, key, value string, columns []column) []probe.Sample {
	var samples []probe.Sample
	for _, row := range t {
		for _, c := range columns {
			if row[key] == c.name {
				if v, ok := number(row, value); ok {
					samples = append(samples, c.metric.Sample(v))
				}
			}
		}
	}
	return samples
}

func takeLists(t table) []probe.Sample { return pairs(t, "list", "items", lists) }

func takeConfig(t table) []probe.Sample { return pairs(t, "key", "value", settings) }

// mostClientGroups bounds the series of pgbouncer_client_connections.
const mostClientGroups = 200

// takeClients counts clients by what they have in common.
func takeClients(t table) []probe.Sample {
	counts := map[[4]string]float64{}
	for _, row := range t {
		if row["database"] != console {
			counts[[4]string{row["application_name"], row["database"], row["state"], row["user"]}]++
		}
	}
	groups := make([][4]string, 0, len(counts))
	for group := range counts {
		groups = append(groups, group)
	}
	slices.SortFunc(groups, func(a, b [4]string) int {
		if counts[a] != counts[b] {
			return int(counts[b] - counts[a])
		}
		return strings.Compare(strings.Join(a[:], "\x00"), strings.Join(b[:], "\x00"))
	})
	for _, group := range groups[min(len(groups), mostClientGroups):] {
		counts[[4]string{"other", group[1], group[2], group[3]}] += counts[group]
		delete(counts, group)
	}
	var samples []probe.Sample
	for group, n := range counts {
		samples = append(samples, clientConnections.Sample(n, group[:]...))
	}
	return samples
}
