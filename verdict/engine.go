package verdict

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/flags"
)

const (
	// maxJudging bounds how many rollouts are judged at the same time.
	maxJudging = 16
	// maxReading bounds how long the evidence for one judgement may take to read.
	maxReading = 10 * time.Second
	// maxWriting bounds how long one transaction of the ledger may take.
	maxWriting = 10 * time.Second
	// forgetEvery is how often old rollouts are removed from the ledger.
	forgetEvery = time.Hour
)

var tracer = otel.Tracer("github.com/rollwatch/rollwatch/verdict")

// Options are what an Engine stands on.
type Options struct {
	Config   Config // the zero value means DefaultConfig
	Services []*alerts.Service
	Gates    alerts.Config
	Window   collector.Window
	Ledger   *Ledger
	Interval time.Duration // between two judgements, and between two scrapes

	// Inspect reads what databases look like now, by the names of their targets, in
	// the time that ctx leaves; nil: no schema is compared.
	Inspect func(ctx context.Context, databases []string) []collector.Inspection
	Flags   []*flags.Config // the stores in which declared feature flags are looked up

	Endpoints []Endpoint  // who is owed which events
	Link      Linker      // where a finding is explained; nil: findings carry no link
	OnOwed    func()      // called when deliveries were recorded; nil: nobody waits
	Log       *zap.Logger // nil: silent

	// Evaluate and TakeBaseline find the evidence; nil: alerts.Evaluate and
	// alerts.TakeBaseline.
	Evaluate     func(ctx context.Context, gates []alerts.Gate, scene alerts.Scene) ([]alerts.Finding, error)
	TakeBaseline func(ctx context.Context, gates []alerts.Gate, scene alerts.Scene, not []alerts.Span) (alerts.Baseline, error)

	// Sight finds which versions a service shows; nil: alerts.Sightings.
	Sight func(ctx context.Context, scene alerts.Scene, span alerts.Span) ([]alerts.Sighting, error)
}

// An Engine judges every rollout under watch once an interval, records each
// transition before anyone sees it, and serves the newest Documents.
type Engine struct {
	opts     Options
	policy   Policy
	services map[string]*service

	duration prometheus.Histogram

	mu      sync.Mutex
	watches map[string]*watch // rollouts under watch, and the newest of each service
	newest  map[string]string // by service: the id of its newest rollout
	adopted chan struct{}     // closed when a closed rollout comes back under watch

	ledgerTrouble string // why nothing can be recorded; "" when it can

	forgot time.Time // when old rollouts were last removed; only the loop that judges uses it
}

// A service is one whose rollouts are judged.
type service struct {
	*alerts.Service
	gates        []alerts.Gate
	registering  sync.Mutex      // one registration at a time
	usual        map[string]bool // versions that it shows and that are no news; only the loop that detects uses it
	undetected   string          // why no new versions are looked for, as the log was told; only the loop that detects uses it,
	manyAt       time.Time       // and when too many were seen last
	bucketsKnown bool            // whether its buckets will do was found out, and said; only the loop that judges uses it
}

// NewEngine takes up the rollouts that the ledger has under watch. Judging
// begins with Run.
func NewEngine(ctx context.Context, opts Options) (*Engine, error) {
	if opts.Config.isZero() {
		opts.Config = DefaultConfig()
	}
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	if opts.Evaluate == nil {
		opts.Evaluate = alerts.Evaluate
	}
	if opts.TakeBaseline == nil {
		opts.TakeBaseline = alerts.TakeBaseline
	}
	if opts.Sight == nil {
		opts.Sight = alerts.Sightings
	}
	e := &Engine{
		opts:     opts,
		policy:   opts.Config.Policy(opts.Interval),
		services: make(map[string]*service, len(opts.Services)),
		duration: newDuration(),
		watches:  make(map[string]*watch),
		newest:   make(map[string]string),
		adopted:  make(chan struct{}),
	}
	for _, s := range opts.Services {
		e.services[s.Name] = &service{Service: s, gates: alerts.Gates(opts.Gates, s), usual: map[string]bool{}}
	}
	return e, e.load(ctx)
}

// load takes up what the ledger knows.
func (e *Engine) load(ctx context.Context) error {
	open, err := e.opts.Ledger.underWatch(ctx)
	if err != nil {
		return err
	}
	newest, err := e.opts.Ledger.newestOfEach(ctx)
	if err != nil {
		return err
	}
	for _, r := range newest {
		e.newest[r.Service] = r.ID
	}
	for _, r := range slices.Concat(open, newest) {
		doc, _, err := e.opts.Ledger.lastDocument(ctx, r.ID)
		if err != nil {
			return err
		}
		e.watches[r.ID] = newWatch(r, doc)
	}
	return nil
}

// Run judges once an interval until ctx ends, and looks for versions that nobody
// told of beside that: to register one takes as long as its baseline and the schemas
// of its databases, for which no verdict waits.
func (e *Engine) Run(ctx context.Context) {
	var loops sync.WaitGroup
	loops.Go(func() { e.every(ctx, e.detect) })
	loops.Go(func() { e.every(ctx, e.tick) })
	loops.Wait()
}

// every does the work once an interval until ctx ends.
func (e *Engine) every(ctx context.Context, do func(context.Context)) {
	ticker := time.NewTicker(e.opts.Interval)
	defer ticker.Stop()
	for {
		do(ctx) // at once: what a restart took up from the ledger may be stale by now
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tick judges every rollout under watch. A service that cannot be judged costs
// the others nothing: reading evidence has a deadline of half an interval.
func (e *Engine) tick(ctx context.Context) {
	e.checkBuckets(ctx)
	e.checkLedger(ctx)
	var group errgroup.Group
	group.SetLimit(maxJudging)
	for _, w := range e.underWatch() {
		group.Go(func() error {
			if err := e.judge(ctx, w); err != nil && ctx.Err() == nil {
				r, _ := w.now()
				e.opts.Log.Error("cannot judge", zap.String("rollout", r.ID), zap.Error(err))
			}
			return nil
		})
	}
	_ = group.Wait() // each has told the log what went wrong
	e.sweep()
	if now := time.Now(); now.Sub(e.forgot) >= forgetEvery {
		e.forgot = now
		if err := e.opts.Ledger.forget(ctx, now.Add(-time.Duration(e.opts.Config.Retention))); err != nil && ctx.Err() == nil {
			e.opts.Log.Error("cannot remove old rollouts", zap.Error(err))
		}
	}
}

// underWatch returns the rollouts that are not final, in the order of their ids.
func (e *Engine) underWatch() []*watch {
	e.mu.Lock()
	defer e.mu.Unlock()
	var open []*watch
	for _, id := range slices.Sorted(maps.Keys(e.watches)) {
		if r, _ := e.watches[id].now(); !r.Final {
			open = append(open, e.watches[id])
		}
	}
	return open
}

// sweep lets go of closed rollouts that are not the newest of their service;
// the ledger has them.
func (e *Engine) sweep() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, w := range e.watches {
		if r, _ := w.now(); r.Final && e.newest[r.Service] != id {
			delete(e.watches, id)
			w.wake()
		}
	}
}

// watched returns the watch of a rollout, taking it up from the ledger when it
// is closed; NotFound if there is no such rollout.
func (e *Engine) watched(ctx context.Context, id string) (*watch, error) {
	if w := e.inMemory(id); w != nil {
		return w, nil
	}
	r, err := e.opts.Ledger.rollout(ctx, id)
	if err != nil {
		return nil, err
	}
	doc, _, err := e.opts.Ledger.lastDocument(ctx, id)
	if err != nil {
		return nil, err
	}
	return e.adopt(id, newWatch(r, doc)), nil
}

// adopt puts a rollout under watch and returns its watch: w, unless it has one.
func (e *Engine) adopt(id string, w *watch) *watch {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watches[id] == nil {
		e.watches[id] = w
		close(e.adopted)
		e.adopted = make(chan struct{})
	}
	return e.watches[id]
}

func (e *Engine) inMemory(id string) *watch {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.watches[id]
}

// Degraded says why the judge cannot do all it should; empty when it can.
func (e *Engine) Degraded() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ledgerTrouble != "" {
		return e.ledgerTrouble
	}
	for _, id := range slices.Sorted(maps.Keys(e.watches)) {
		if trouble := e.watches[id].inTrouble(); trouble != "" {
			return fmt.Sprintf("%s: %s", id, trouble)
		}
	}
	return ""
}

// readingTime is how long the evidence for one judgement may take to read.
func (e *Engine) readingTime() time.Duration { return min(maxReading, e.opts.Interval/2) }

// A watch is one rollout in memory.
type watch struct {
	change sync.Mutex // held by whoever changes the rollout, over the writing to the ledger

	mu      sync.Mutex // guards what is below, never held over anything slow
	rollout Rollout
	doc     Document      // the newest; without Seq before the first
	suspect bool          // the ledger may know more than memory: a write failed
	trouble string        // why the last judgement could not be made or recorded
	changed chan struct{} // closed at the next transition
	kept    *alerts.Kept  // of earlier judgements
}

func newWatch(r Rollout, doc Document) *watch {
	return &watch{rollout: r, doc: doc, changed: make(chan struct{})}
}

// now returns the rollout and its newest document.
func (w *watch) now() (Rollout, Document) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rollout, w.doc
}

// keeps is what earlier judgements worked out.
func (w *watch) keeps() *alerts.Kept {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kept == nil {
		w.kept = &alerts.Kept{}
	}
	return w.kept
}

// startAnew forgets what earlier judgements worked out.
func (w *watch) startAnew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept = nil
}

// wake tells all that wait for a transition to look again.
func (w *watch) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.changed)
	w.changed = make(chan struct{})
}

// publish shows a new document.
func (w *watch) publish(r Rollout, doc Document) {
	w.mu.Lock()
	transition := doc.Seq != w.doc.Seq
	w.rollout, w.doc, w.trouble, w.suspect = r, doc, "", false
	if doc.Final {
		w.kept = nil // it is judged no more
	}
	w.mu.Unlock()
	if transition {
		w.wake()
	}
}

// fail remembers why the verdict shown is not renewed. After a write that failed
// memory is not trusted before the ledger was read again.
func (w *watch) fail(err error, suspect bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = err.Error()
	w.suspect = w.suspect || suspect
}

func (w *watch) inTrouble() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble
}
