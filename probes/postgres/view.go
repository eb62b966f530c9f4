package postgres

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A view is one part of a reading: a query that needs nothing of the others,
// and what to make of its rows. The queries of all views are composed into one
// statement: none may end in a semicolon or hold a parameter.
type view struct {
	name string
	sql  func(here) string // "" where this server has no such thing, or nobody asked
	take func(c *cycle, rows *rows) error

	// needs is what must be there for the query, and what must be granted; nil
	// where everybody may ask. It is looked up before: a query that fails once a
	// minute would fill the server's log.
	needs func(Config) need
}

// A need is a SQL expression that is NULL where a thing is not there, and else
// says whether we may read it; and the statement that lets us.
type need struct{ readable, grant string }

// here is the server as far as a query depends on it: columns came with versions.
type here struct {
	version int // server_version_num
	config  Config
}

// views are read at every Read, in this order; the first tells the others what
// our role may see.
var views = []view{
	{name: serverView, sql: serverSQL, take: takeServer},
	{name: "database", sql: databaseSQL, take: takeDatabase},
	{name: "activity", sql: activitySQL, take: takeActivity},
	{name: "sessions", sql: sessionsSQL, take: takeSessions},
	{name: "locks", sql: locksSQL, take: takeLocks},
	{name: "blocking", sql: blockingSQL, take: takeBlocking},
	{name: "xmin", sql: xminSQL, take: takeXmin},
	{name: "replication", sql: replicationSQL, take: takeReplication},
	{name: "slots", sql: slotsSQL, take: takeSlots},
	{name: "recovery", sql: recoverySQL, take: takeRecovery},
	{name: "wal_receiver", sql: receiverSQL, take: takeReceiver},
	{name: "bgwriter", sql: bgwriterSQL, take: takeBgwriter},
	{name: "checkpointer", sql: checkpointerSQL, take: takeCheckpointer},
	{name: "archiver", sql: archiverSQL, take: takeArchiver},
}

// surveyed are read rarely, on a connection of their own: they look at files,
// or at every relation of the database.
var surveyed = []view{
	{name: "sizes", sql: sizesSQL, take: takeSizes},
	{name: "settings", sql: settingsSQL, take: takeSettings},
	{name: "wal", sql: walSQL, take: takeWAL, needs: walNeeds},
	{name: "roles", sql: rolesSQL, take: takeRoles},
	{name: "indexes", sql: invalidSQL, take: takeInvalid},
	{name: "constraints", sql: constraintsSQL, take: takeConstraints},
	{name: "sequences", sql: sequencesSQL, take: takeSequences},
	{name: schemaView, sql: schemaSQL, take: takeSchema},
	{name: "user_tables", sql: tablesSQL, take: takeTables},
	{name: "user_indexes", sql: indexesSQL, take: takeIndexes},
	{name: "statements", sql: statementsSQL, take: takeStatements, needs: statementsNeeds},
	{name: "timescaledb", sql: timescaleSQL, take: takeTimescale, needs: timescaleNeeds},
	{name: "hypertables", sql: hypertablesSQL, take: takeHypertables, needs: timescaleNeeds},
	{name: "hypertable_sizes", sql: hypertableSizesSQL, take: takeHypertableSizes, needs: hypertableSizesNeeds},
	{name: "timescaledb_jobs", sql: timescaleJobsSQL, take: takeTimescaleJobs, needs: timescaleNeeds},
	{name: "continuous_aggregates", sql: aggregatesSQL, take: takeAggregates, needs: timescaleNeeds},
	migrationTools[0].view(),
	migrationTools[1].view(),
	migrationTools[2].view(),
}

// Metrics are all metrics of this probe, but for pg_up, which says whether it
// could read at all.
var Metrics = slices.Concat(
	[]*probe.Metric{roundTrip, connectTime},
	serverMetrics, metricsOf(databaseColumns), activityMetrics, sessionMetrics, lockMetrics, metricsOf(blockingColumns),
	xminMetrics, replicationMetrics, slotMetrics, recoveryMetrics, receiverMetrics,
	metricsOf(bgwriterColumns), metricsOf(checkpointerColumns), metricsOf(archiverColumns),
	metricsOf(sizeColumns), settingMetrics, metricsOf(walColumns), metricsOf(roleColumns),
	invalidMetrics, metricsOf(constraintColumns), sequenceMetrics, []*probe.Metric{schemaColumns},
	metricsOf(tableColumns), metricsOf(indexColumns), metricsOf(statementColumns),
	timescaleMetrics, migrationMetrics, integrityMetrics,
)

// Up is 1 while the target can be read and 0 while it cannot. The collector
// sets it, since a probe that cannot read has no Reading.
var Up = &probe.Metric{
	Name: "pg_up", Type: probe.Gauge,
	Help:   "Whether the last read of the server succeeded (1) or not (0).",
	Source: "the read itself",
}

var (
	roundTrip = &probe.Metric{
		Name: "pg_round_trip_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "How long SELECT 1 took on the kept session.",
		Source: "SELECT 1",
	}
	connectTime = &probe.Metric{
		Name: "pg_connect_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "How long a new client took to connect and to be let in; tried once a minute.",
		Source: "a connection of its own",
	}
)

// errDenied is why a view has no values: it has rows for everybody, but
// columns only for members of pg_monitor. A NULL there is not a 0.
var errDenied = errors.New("the role is not a member of pg_monitor")

// errNotHere is why a view of the other replication role has no values.
var errNotHere = errors.New("not on a server of this role")

// A cycle collects one Reading.
type cycle struct {
	samples  []probe.Sample
	views    []probe.View
	server   server // what the server view found
	schema   *probe.Schema
	standbys int // that stream from this server
}

func (c *cycle) add(samples ...probe.Sample) { c.samples = append(c.samples, samples...) }

// addKnown adds a value that the server may not know: NULL is no sample.
func (c *cycle) addKnown(m *probe.Metric, value *float64, labels ...string) {
	if value != nil {
		c.add(m.Sample(*value, labels...))
	}
}

// take reads the rows of a view and records how that went: a view that holds
// nothing for us is not one that failed.
func (c *cycle) take(v view, all []string) {
	before := len(c.samples)
	rows := &rows{all: all}
	err := v.take(c, rows)
	if err == nil {
		err = rows.err
	}
	state := probe.View{Name: v.name, State: probe.ViewRead}
	switch {
	case errors.Is(err, errDenied):
		state.State, state.Err = probe.ViewDenied, fmt.Errorf("%w: GRANT pg_monitor TO %s", err, pgx.Identifier{c.server.user}.Sanitize())
	case errors.Is(err, errNotHere):
		state.State = probe.ViewAbsent
	case tooLarge(err):
		state.State, state.Err = probe.ViewAbsent, err
	case err != nil:
		c.samples = c.samples[:before]
		state.State, state.Err = probe.ViewFailed, err
	}
	c.views = append(c.views, state)
}

func (c *cycle) details() map[string]any {
	role := "primary"
	if c.server.standby {
		role = "standby"
	}
	details := map[string]any{"version": c.server.shortVersion, "role": role}
	if used, limit := c.server.used, c.server.limit(); used != nil && limit > 0 {
		details["connections"] = fmt.Sprintf("%.0f of %.0f", *used, limit)
	}
	return details
}
