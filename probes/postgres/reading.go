package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// retriesEach is how many of the views that were set aside are tried again in
// one reading, each in a statement of its own.
const retriesEach = 2

// An aside is a view that spoilt the composed statement, and how it stands.
type aside struct {
	view  probe.View
	tried time.Time
}

// readViews reads the views in one statement. Where that fails, they are read
// one by one; what is at fault is named and set aside, and costs the others
// nothing from then on. A few of those set aside are tried again each time.
func (r *reader) readViews(ctx context.Context, c *cycle) error {
	at := here{r.session.version, r.config}
	var together, apart []view
	for _, v := range views {
		switch {
		case v.sql(at) == "":
			c.views = append(c.views, probe.View{Name: v.name, State: probe.ViewAbsent})
		case r.asides[v.name] != nil:
			apart = append(apart, v)
		default:
			together = append(together, v)
		}
	}
	err := r.readTogether(ctx, c, together)
	if err != nil && (!answered(err) || r.session.conn.IsClosed()) {
		return inTime(ctx, err)
	}
	if err != nil {
		apart = append(apart, together...)
		for _, v := range together {
			r.asides[v.name] = &aside{}
		}
	}
	return r.readApart(ctx, c, apart)
}

// readApart reads views one by one: those that were never tried by themselves,
// and a few of the others.
func (r *reader) readApart(ctx context.Context, c *cycle, apart []view) error {
	slices.SortStableFunc(apart, func(a, b view) int { return r.asides[a.name].tried.Compare(r.asides[b.name].tried) })
	again := 0
	for _, v := range apart {
		known := r.asides[v.name]
		switch fresh := known.tried.IsZero(); {
		case r.outOfTime(ctx):
			r.setAside(c, v, errors.New("no time was left for it"))
			continue
		case !fresh && again == retriesEach:
			c.views = append(c.views, known.view)
			continue
		case !fresh:
			again++
		}
		err := r.readTogether(ctx, c, []view{v})
		switch {
		case err == nil:
			delete(r.asides, v.name)
		case v.name == serverView, !answered(err), r.session.conn.IsClosed():
			return inTime(ctx, err)
		default:
			r.setAside(c, v, err)
		}
	}
	return nil
}

// setAside records that a view could not be read.
func (r *reader) setAside(c *cycle, v view, err error) {
	state := unread(v, err)
	r.asides[v.name] = &aside{view: state, tried: time.Now()}
	c.views = append(c.views, state)
}

// outOfTime says whether one more statement that is held up would cost the session.
func (r *reader) outOfTime(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < r.session.timeout
}

// readTogether reads views in one statement, all or none.
func (r *reader) readTogether(ctx context.Context, c *cycle, together []view) error {
	if len(together) == 0 {
		return nil
	}
	found, err := r.session.compose(ctx, together, here{r.session.version, r.config})
	if err != nil {
		if len(together) == 1 {
			return fmt.Errorf("view %s: %w", together[0].name, err)
		}
		return err
	}
	for i, v := range together {
		c.take(v, found[i])
	}
	return nil
}

// compose asks the queries of views in one statement, and returns the rows of
// each. Through a pooler the limits go before it, in the same transaction.
func (s *session) compose(ctx context.Context, together []view, at here) (found [][]string, err error) {
	sql, err := s.prepare(ctx, composed(together, at), len(together) > 1)
	if err != nil {
		return nil, err
	}
	batch := &pgx.Batch{}
	if s.pooled {
		s.guard(batch)
	}
	guards := batch.Len()
	batch.Queue(sql)
	results := s.conn.SendBatch(ctx, batch)
	defer func() { err = cmp.Or(err, results.Close()) }()
	for range guards {
		if _, err := results.Exec(); err != nil {
			return nil, fmt.Errorf("limits: %w", err)
		}
	}
	answer, err := results.Query()
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	found = make([][]string, len(together))
	for answer.Next() {
		var view int
		var row string
		if err := answer.Scan(&view, &row); err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		found[view] = append(found[view], row)
	}
	answer.Close() // what went wrong on the way is known only now
	return found, answer.Err()
}

// preparedName is the name of the statement that a session keeps prepared.
const preparedName = "rollwatch_views"

// prepare has the server keep a statement that comes again at every reading: to
// plan it costs more than to execute it. A pooler may not know it the next time.
func (s *session) prepare(ctx context.Context, sql string, again bool) (string, error) {
	if s.pooled || !again {
		return sql, nil
	}
	if s.prepared != sql {
		if s.prepared != "" {
			if err := s.conn.Deallocate(ctx, preparedName); err != nil {
				return "", fmt.Errorf("forget the last statement: %w", err)
			}
			s.prepared = ""
		}
		if _, err := s.conn.Prepare(ctx, preparedName, sql); err != nil {
			return "", err
		}
		s.prepared = sql
	}
	return preparedName, nil
}

// composed is one statement that returns the rows of every view as JSON, each
// behind the place of its view. A statement has one set of columns; JSON has all.
func composed(together []view, at here) string {
	parts := make([]string, len(together))
	for i, v := range together {
		parts[i] = fmt.Sprintf("(SELECT %d, to_json(v)::text FROM (\n%s\n) v)", i, v.sql(at))
	}
	return strings.Join(parts, "\nUNION ALL\n")
}

// answered says that an error is the server's answer to a statement.
func answered(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr)
}

// stateOf tells what the server says it lacks from what went wrong this time.
func stateOf(err error) probe.ViewState {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return probe.ViewFailed
	}
	switch pgErr.Code {
	case "42501": // insufficient_privilege
		return probe.ViewDenied
	case "42P01", "42883", "42703", "42704": // undefined table, function, column, object
		return probe.ViewAbsent
	}
	return probe.ViewFailed
}
