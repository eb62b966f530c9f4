package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// defaultDeadline stands in where a Read has no deadline of its own.
const defaultDeadline = 3 * time.Second

// reader reads one server over one session, opened when there is none.
type reader struct {
	config  Config
	session *session
	suspect map[string]bool // views that failed in the last Read: read after the others
}

func newProbe(config Config) *reader {
	return &reader{config: config, suspect: map[string]bool{}}
}

// target is where to connect, read afresh so that a rotated password works.
func (r *reader) target() (*pgx.ConnConfig, error) {
	secret := r.config.URL
	if r.config.URLFile != "" {
		var err error
		if secret, err = probe.ReadSecretFile(r.config.URLFile); err != nil {
			return nil, fmt.Errorf("url_file: %w", err)
		}
	}
	return parseURL(secret)
}

// Read reads every view of the server in one round trip, behind one that
// measures it.
func (r *reader) Read(ctx context.Context) (probe.Reading, error) {
	latency, err := r.reach(ctx)
	if err != nil {
		return probe.Reading{}, err
	}
	c := &cycle{}
	c.add(roundTrip.Sample(latency.Seconds()))
	if err := r.readViews(ctx, c); err != nil {
		r.drop() //nolint:contextcheck // the goodbye has a time of its own
		return probe.Reading{}, err
	}
	return c.reading(), nil
}

// Close ends the session.
func (r *reader) Close() error {
	r.drop()
	return nil
}

// reach makes sure that there is a session that answers. One that was kept may
// have been ended by the server since; that alone is not a server that is down.
func (r *reader) reach(ctx context.Context) (time.Duration, error) {
	if r.session != nil {
		latency, err := r.session.ping(ctx)
		if err == nil {
			return latency, nil
		}
		r.drop() //nolint:contextcheck // the goodbye has a time of its own
		if ctx.Err() != nil {
			return 0, inTime(ctx, err)
		}
	}
	config, err := r.target()
	if err != nil {
		return 0, err
	}
	r.session, err = connect(ctx, config, r.statementTimeout(ctx))
	if err != nil {
		return 0, inTime(ctx, err)
	}
	latency, err := r.session.ping(ctx)
	if err != nil {
		r.drop() //nolint:contextcheck // the goodbye has a time of its own
		return 0, inTime(ctx, err)
	}
	return latency, nil
}

// statementTimeout is what one statement may take, so that one that is held up
// leaves time for the others: a context that ends costs the whole session.
func (r *reader) statementTimeout(ctx context.Context) time.Duration {
	remaining := defaultDeadline
	if deadline, ok := ctx.Deadline(); ok {
		remaining = time.Until(deadline)
	}
	timeout := remaining / 3
	if wanted := time.Duration(r.config.StatementTimeout); wanted > 0 {
		timeout = min(timeout, wanted)
	}
	return timeout
}

func (r *reader) drop() {
	if r.session != nil {
		r.session.close()
		r.session = nil
	}
}

// readViews reads the views in one batch. Where one fails, the batch fails
// from there on: it is named, and the rest is sent again without it.
func (r *reader) readViews(ctx context.Context, c *cycle) error {
	pending := r.inOrder()
	clear(r.suspect)
	for len(pending) > 0 {
		done, err := r.readBatch(ctx, c, pending)
		if err == nil {
			break
		}
		if done == len(pending) || pending[done].name == serverView || r.session.conn.IsClosed() {
			return inTime(ctx, err)
		}
		failed := pending[done]
		r.fail(c, failed, err)
		pending = pending[done+1:]
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < r.session.timeout {
			for _, v := range pending {
				r.fail(c, v, errors.New("no time was left for it"))
			}
			break
		}
	}
	return nil
}

// inOrder are the views, those last that failed the last time: there they cost
// the others nothing.
func (r *reader) inOrder() []view {
	trusted, suspect := []view{}, []view{}
	for _, v := range views {
		if r.suspect[v.name] {
			suspect = append(suspect, v)
		} else {
			trusted = append(trusted, v)
		}
	}
	return append(trusted, suspect...)
}

// fail records that a view could not be read.
func (r *reader) fail(c *cycle, v view, err error) {
	state := stateOf(err)
	if state == probe.ViewFailed {
		r.suspect[v.name] = true
	}
	c.views = append(c.views, probe.View{Name: v.name, State: state, Err: err})
}

// readBatch reads the views in one round trip, and says how many were read
// before the one that failed.
func (r *reader) readBatch(ctx context.Context, c *cycle, pending []view) (done int, err error) {
	batch := &pgx.Batch{}
	if r.session.pooled {
		r.session.guard(batch)
	}
	guards := batch.Len()
	for _, v := range pending {
		batch.Queue(v.sql(r.session.version))
	}
	results := r.session.conn.SendBatch(ctx, batch)
	defer func() { err = cmp.Or(err, results.Close()) }()
	for range guards {
		if _, err := results.Exec(); err != nil {
			return 0, fmt.Errorf("limits: %w", err)
		}
	}
	for _, v := range pending {
		rows, err := results.Query()
		if err != nil {
			return done, fmt.Errorf("view %s: %w", v.name, err)
		}
		if err := c.take(v, rows); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
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

// inTime says of an error that came with the end of ctx what it means: pgx
// reports the socket that was closed under it.
func inTime(ctx context.Context, err error) error {
	var timeout net.Error
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("no answer in time: %w", err)
	}
	return err
}
