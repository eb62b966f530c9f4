package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/verdict"
)

const (
	// giveUpAfter is how long a delivery is tried.
	giveUpAfter = 2 * time.Hour
	// maxRetryAfter bounds how long an endpoint may ask to be left alone.
	maxRetryAfter = 10 * time.Minute
	// pollEvery is how often the ledger is asked for what nobody announced.
	pollEvery = 30 * time.Second
	// afterTrouble is how long a ledger that failed is left alone.
	afterTrouble = time.Second
	// cleanEvery is how often what is owed is counted and given up.
	cleanEvery = time.Minute
)

// waits are the times between attempts; the last is repeated.
var waits = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}

// Options are what a Deliverer stands on.
type Options struct {
	Webhooks  []Config
	Ledger    *verdict.Ledger
	Log       *zap.Logger       // nil: silent
	Transport http.RoundTripper // nil: one of its own
}

// A Deliverer hands over what the ledger owes. Each endpoint has a goroutine of
// its own, so that a slow one delays no other. One endpoint gets events in
// their order as long as it takes them; one that is tried again may come after
// a newer one, which the seq in it tells.
type Deliverer struct {
	ledger    *verdict.Ledger
	log       *zap.Logger
	endpoints []*endpoint
	outcomes  *prometheus.CounterVec
	owed      atomic.Int64
	transport http.RoundTripper
}

// New makes a Deliverer; Run delivers.
func New(opts Options) *Deliverer {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	d := &Deliverer{
		ledger:    opts.Ledger,
		log:       opts.Log,
		transport: opts.Transport,
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollwatch_webhook_deliveries_total",
			Help: "Attempts to deliver an event, by what they came to: delivered, again (it will be tried again), failed (given up), gone (the endpoint answered 410).",
		}, []string{"endpoint", "outcome"}),
	}
	if d.transport == nil {
		d.transport = newTransport()
	}
	for _, c := range opts.Webhooks {
		sum := sha256.Sum256([]byte(c.URL.Reveal()))
		d.endpoints = append(d.endpoints, &endpoint{
			name:     c.Name,
			address:  hex.EncodeToString(sum[:]),
			notifier: Kinds[c.kind()](c, newClient(d.transport)),
			ledger:   opts.Ledger,
			log:      opts.Log.With(zap.String("webhook", c.Name)),
			outcomes: d.outcomes.MustCurryWith(prometheus.Labels{"endpoint": c.Name}),
			woken:    make(chan struct{}, 1),
		})
		for _, outcome := range []string{"delivered", "again", "failed", "gone"} {
			d.outcomes.WithLabelValues(c.Name, outcome)
		}
	}
	return d
}

// Run delivers until ctx ends. What is under way then is owed still.
func (d *Deliverer) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, e := range d.endpoints {
		running.Go(func() { e.run(ctx) })
	}
	d.clean(ctx)
	running.Wait()
	(&http.Client{Transport: d.transport}).CloseIdleConnections()
}

// Wake tells that deliveries were recorded. It never waits.
func (d *Deliverer) Wake() {
	for _, e := range d.endpoints {
		select {
		case e.woken <- struct{}{}:
		default: // it is awake
		}
	}
}

// clean counts what is owed, and gives up what is owed to endpoints that are
// configured no more.
func (d *Deliverer) clean(ctx context.Context) {
	ticker := time.NewTicker(cleanEvery)
	defer ticker.Stop()
	var names []string
	for _, e := range d.endpoints {
		names = append(names, e.name)
	}
	for {
		if err := d.ledger.Abandon(ctx, names, time.Now().Add(-giveUpAfter)); err != nil && ctx.Err() == nil {
			d.log.Error("cannot give up old deliveries", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

var owedNow = prometheus.NewDesc("rollwatch_webhook_owed", "Deliveries that are owed to endpoints now.", nil, nil)

// Describe sends the description of every metric.
func (d *Deliverer) Describe(ch chan<- *prometheus.Desc) {
	ch <- owedNow
	d.outcomes.Describe(ch)
}

// countTimeout bounds how long the ledger may take to count for a scrape.
const countTimeout = 20 * time.Millisecond

// Collect sends the counts. What is owed is counted in the ledger; while that is
// busy the last count stands.
func (d *Deliverer) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	if n, err := d.ledger.CountOwed(ctx); err == nil {
		d.owed.Store(int64(n))
	}
	ch <- prometheus.MustNewConstMetric(owedNow, prometheus.GaugeValue, float64(d.owed.Load()))
	d.outcomes.Collect(ch)
}

// An endpoint is one receiver, served one delivery at a time.
type endpoint struct {
	name      string
	address   string // hash of the URL
	notifier  Notifier
	ledger    *verdict.Ledger
	log       *zap.Logger
	outcomes  *prometheus.CounterVec
	woken     chan struct{}
	unsettled *verdict.Delivery // tried, but what became of it could not be recorded
}

func (e *endpoint) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := e.deliverDue(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.Error("the ledger fails webhooks", zap.Error(err))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-e.woken:
		}
		timer.Stop()
	}
}

// deliverDue makes every attempt that is due, and returns how long to wait for the next.
func (e *endpoint) deliverDue(ctx context.Context) (time.Duration, error) {
	if err := e.settleLeftover(ctx); err != nil {
		return afterTrouble, err
	}
	gone, err := e.ledger.IsDisabled(ctx, e.name, e.address)
	if err != nil {
		return afterTrouble, err
	}
	if gone {
		return pollEvery, e.ledger.SetAside(ctx, e.name, e.address)
	}
	for ctx.Err() == nil {
		d, due, next, err := e.ledger.NextOwed(ctx, e.name, time.Now())
		if err != nil {
			return afterTrouble, err
		}
		if !due {
			return untilNext(next), nil
		}
		answer := e.notifier.Notify(ctx, d)
		if ctx.Err() != nil && answer.Outcome != Delivered {
			break // we broke it off, so it was no attempt
		}
		e.unsettled = e.after(d, answer)
		if err := e.settleLeftover(context.WithoutCancel(ctx)); err != nil {
			return afterTrouble, err
		}
		if answer.Outcome == Gone {
			if err := e.ledger.Disable(ctx, e.name, e.address, time.Now()); err != nil {
				return afterTrouble, err
			}
			return pollEvery, e.ledger.SetAside(ctx, e.name, e.address)
		}
	}
	return pollEvery, nil
}

func untilNext(next time.Time) time.Duration {
	if next.IsZero() {
		return pollEvery
	}
	return max(0, min(pollEvery, time.Until(next)))
}

// settleLeftover records what became of the last attempt. Nothing more is sent
// before that: a full disk must not make one event a hundred.
func (e *endpoint) settleLeftover(ctx context.Context) error {
	if e.unsettled == nil {
		return nil
	}
	if err := e.ledger.Settle(ctx, *e.unsettled); err != nil {
		return fmt.Errorf("record a delivery: %w", err)
	}
	e.unsettled = nil
	return nil
}

// after is what becomes of a delivery by an attempt.
func (e *endpoint) after(d verdict.Delivery, answer Answer) *verdict.Delivery {
	now := time.Now().UTC()
	d.Attempts++
	d.LastError = ""
	if answer.Err != nil {
		d.LastError = answer.Err.Error()
	}
	outcome := string(answer.Outcome)
	switch answer.Outcome {
	case Delivered:
		d.State, d.DeliveredAt = verdict.Delivered, now
	case Gone:
		d.State = verdict.Disabled
	default:
		d.NextAttempt = now.Add(waitAfter(d.Attempts, answer.RetryAfter))
		if d.NextAttempt.After(d.OwedSince.Add(giveUpAfter)) {
			d.State, outcome = verdict.Failed, "failed"
		}
	}
	e.outcomes.WithLabelValues(outcome).Inc()
	if answer.Outcome != Delivered {
		e.log.Warn("webhook not delivered", zap.String("event", d.Event), zap.Int("attempt", d.Attempts), zap.String("outcome", outcome), zap.Error(answer.Err))
	}
	return &d
}

// waitAfter is how long to wait after so many attempts, and at least as long
// as the endpoint asked, within bounds.
func waitAfter(attempts int, asked time.Duration) time.Duration {
	return max(waits[min(attempts, len(waits))-1], min(asked, maxRetryAfter))
}
