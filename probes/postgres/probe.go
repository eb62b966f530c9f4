package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// defaultDeadline stands in where a Read has no deadline of its own.
const defaultDeadline = 3 * time.Second

// reader reads one server over one session, opened when there is none.
type reader struct {
	config  Config
	session *session
	asides  map[string]*aside // views that are read by themselves, by name
	survey  *surveyor
	beside  turn // of the connection beside the session
}

func newProbe(config Config) *reader {
	return &reader{config: config, asides: map[string]*aside{}, survey: newSurveyor(config), beside: make(turn, 1)}
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

// Read reads every view of the server in one statement, behind one that
// measures the round trip, and adds what the newest survey found.
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
	r.survey.addTo(c, time.Now())
	slices.SortStableFunc(c.views, func(a, b probe.View) int { return cmp.Compare(place(a), place(b)) })
	return probe.Reading{Samples: c.samples, Views: c.views, Details: c.details(), Schema: c.schema}, nil
}

// place is where a view of the hot path stands in the table; the others follow
// in their own order.
func place(v probe.View) int {
	i := slices.IndexFunc(views, func(known view) bool { return known.name == v.Name })
	if i < 0 {
		return len(views)
	}
	return i
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
		clear(r.asides) // the next one may be of another server
	}
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
