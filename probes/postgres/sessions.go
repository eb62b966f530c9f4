package postgres

import "github.com/rollwatch/rollwatch/probes/probe"

var (
	connectionsUsed = &probe.Metric{
		Name: "pg_connections_used", Type: probe.Gauge,
		Help:   "How many client connections are open, over all databases.",
		Source: "pg_stat_database.numbackends",
	}
	connectionsLimit = &probe.Metric{
		Name: "pg_connections_limit", Type: probe.Gauge,
		Help:   "How many connections ordinary roles may have together: max_connections without the reserved ones.",
		Source: "max_connections, superuser_reserved_connections, reserved_connections",
	}
	oldestIdle = &probe.Metric{
		Name: "pg_idle_in_transaction_oldest_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "How long the session has been idle that is so the longest within a transaction; 0 when none is.",
		Source: "pg_stat_activity",
	}
	longTransactions = &probe.Metric{
		Name: "pg_long_running_transactions", Type: probe.Gauge,
		Help:   "How many transactions are open.",
		Source: "pg_stat_activity",
		Note:   "The name is postgres_exporter's, which counts every open transaction too, however short.",
	}
	oldestTransaction = &probe.Metric{
		Name: "pg_long_running_transactions_oldest_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "How long the oldest open transaction has been running; 0 when none is open.",
		Source: "pg_stat_activity",
		Note:   "In place of pg_long_running_transactions_oldest_timestamp_seconds, which holds an age, not a timestamp.",
	}
	sessionMetrics = []*probe.Metric{connectionsUsed, connectionsLimit, oldestIdle, longTransactions, oldestTransaction}
)

func sessionsSQL(here) string {
	return `SELECT (SELECT sum(numbackends) FROM pg_stat_database)::float8,
	coalesce(max(extract(epoch FROM clock_timestamp() - state_change)) FILTER (WHERE state LIKE 'idle in transaction%'), 0)::float8,
	(count(*) FILTER (WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid()))::float8,
	coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)) FILTER (WHERE pid <> pg_backend_pid()), 0)::float8
	FROM pg_stat_activity WHERE backend_type = 'client backend'`
}

func takeSessions(c *cycle, r *rows) error {
	var idle, open, oldest float64
	if err := scanOne(r, &c.server.used, &idle, &open, &oldest); err != nil {
		return err
	}
	c.addKnown(connectionsUsed, c.server.used)
	c.add(connectionsLimit.Sample(c.server.limit()))
	if !c.server.readsStats {
		return errDenied // the states of others are hidden: what was counted is our own
	}
	c.add(oldestIdle.Sample(idle), longTransactions.Sample(open), oldestTransaction.Sample(oldest))
	return nil
}
