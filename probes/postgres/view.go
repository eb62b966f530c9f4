package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A view is one part of a reading: a statement that needs nothing of the
// others, and what to make of its rows.
type view struct {
	name string
	sql  func(version int) string // by server_version_num: columns came with versions
	take func(c *cycle, rows pgx.Rows) error
}

// views in the order of reading; the first tells the others what our role may see.
var views = []view{
	{serverView, serverSQL, takeServer},
	{"connections", connectionsSQL, takeConnections},
	{"activity", activitySQL, takeActivity},
	{"replication", replicationSQL, takeReplication},
	{"slots", slotsSQL, takeSlots},
	{"recovery", recoverySQL, takeRecovery},
	{"wal_receiver", receiverSQL, takeReceiver},
}

// Metrics are all metrics of this probe, but for pg_up, which says whether it
// could read at all.
var Metrics = slices.Concat(
	[]*probe.Metric{roundTrip},
	serverMetrics, connectionMetrics, activityMetrics, replicationMetrics, slotMetrics, recoveryMetrics, receiverMetrics,
)

// Up is 1 while the target can be read and 0 while it cannot. The collector
// sets it, since a probe that cannot read has no Reading.
var Up = &probe.Metric{
	Name: "pg_up", Type: probe.Gauge,
	Help:   "Whether the last read of the server succeeded (1) or not (0).",
	Source: "the read itself",
}

var roundTrip = &probe.Metric{
	Name: "pg_round_trip_seconds", Type: probe.Gauge, Unit: "seconds",
	Help:   "How long SELECT 1 took on the kept session.",
	Source: "SELECT 1",
}

// errDenied is why a view has no values: it has rows for everybody, but
// columns only for members of pg_monitor. A NULL there is not a 0.
var errDenied = errors.New("the role is not a member of pg_monitor")

// errNotHere is why a view of the other replication role has no values.
var errNotHere = errors.New("not on a server of this role")

var errNoRow = errors.New("the server returned no row")

// A cycle collects one Reading.
type cycle struct {
	samples  []probe.Sample
	views    []probe.View
	server   server // what the server view found
	standbys int    // that stream from this server
}

func (c *cycle) add(samples ...probe.Sample) { c.samples = append(c.samples, samples...) }

// addKnown adds a value that the server may not know: NULL is no sample.
func (c *cycle) addKnown(m *probe.Metric, value *float64, labels ...string) {
	if value != nil {
		c.add(m.Sample(*value, labels...))
	}
}

// take reads the rows of a view and records how that went. An error is one of
// the server's; a view that holds nothing for us is no error.
func (c *cycle) take(v view, rows pgx.Rows) error {
	before := len(c.samples)
	err := v.take(c, rows)
	rows.Close() // what went wrong on the way is known only now
	if rowsErr := rows.Err(); rowsErr != nil {
		c.samples = c.samples[:before]
		return fmt.Errorf("view %s: %w", v.name, rowsErr)
	}
	state := probe.View{Name: v.name, State: probe.ViewRead}
	switch {
	case errors.Is(err, errDenied):
		state.State, state.Err = probe.ViewDenied, fmt.Errorf("%w: GRANT pg_monitor TO %s", err, pgx.Identifier{c.server.user}.Sanitize())
	case errors.Is(err, errNotHere):
		state.State = probe.ViewAbsent
	case err != nil:
		c.samples = c.samples[:before]
		state.State, state.Err = probe.ViewFailed, err
	}
	c.views = append(c.views, state)
	return nil
}

// scan reads the row that rows stands on.
func scan(rows pgx.Rows, into ...any) error {
	if err := rows.Scan(into...); err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	return nil
}

// scanOne reads the one row of a view that always has one.
func scanOne(rows pgx.Rows, into ...any) error {
	if !rows.Next() {
		return errNoRow
	}
	return scan(rows, into...)
}

// reading hands over what was collected, the views in the order of the table.
func (c *cycle) reading() probe.Reading {
	slices.SortFunc(c.views, func(a, b probe.View) int { return cmp.Compare(place(a), place(b)) })
	return probe.Reading{
		Samples: c.samples,
		Views:   c.views,
		Details: c.details(),
	}
}

func (c *cycle) details() map[string]any {
	role := "primary"
	if c.server.standby {
		role = "standby"
	}
	return map[string]any{"version": c.server.shortVersion, "role": role}
}

func place(v probe.View) int {
	return slices.IndexFunc(views, func(known view) bool { return known.name == v.Name })
}
