package verdict

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

const tick = 15 * time.Second

// A world is an engine with evidence made by hand, in the time of a bubble.
type world struct {
	t        *testing.T
	path     string
	opts     Options
	engine   *Engine
	ledger   *Ledger
	stop     func()
	mu       sync.Mutex
	evidence func(scene alerts.Scene) ([]alerts.Finding, error)
	scenes   []alerts.Scene // seen by the last evaluations
	notFrom  []alerts.Span  // left out of the last baseline
	owed     atomic.Int32   // how often deliveries were announced
}

// inWorld runs a story on a judge that has just started.
func inWorld(t *testing.T, story func(t *testing.T, w *world), services ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, path: path}
		if len(services) == 0 {
			services = []string{"api"}
		}
		for _, name := range services {
			w.opts.Services = append(w.opts.Services, &alerts.Service{Name: name})
		}
		w.opts.Interval = tick
		w.opts.Endpoints = []Endpoint{{Name: "deployer"}, {Name: "pager", Events: []EventType{VerdictFinal}}}
		w.opts.OnOwed = func() { w.owed.Add(1) }
		w.opts.Evaluate = w.evaluate
		w.opts.TakeBaseline = w.takeBaseline
		w.evidence = func(scene alerts.Scene) ([]alerts.Finding, error) { return healthy(scene.Now), nil }
		w.start()
		defer func() { w.stop() }()
		story(t, w)
	})
}

func (w *world) evaluate(ctx context.Context, _ []alerts.Gate, scene alerts.Scene) ([]alerts.Finding, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.mu.Lock()
	evidence := w.evidence
	w.scenes = append(w.scenes, scene)
	w.mu.Unlock()
	return evidence(scene)
}

// lastScene is what the newest evaluation looked at.
func (w *world) lastScene() alerts.Scene {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.scenes[len(w.scenes)-1]
}

// announced is how often deliveries were announced.
func (w *world) announced() int { return int(w.owed.Load()) }

func (w *world) takeBaseline(_ context.Context, _ []alerts.Gate, _ alerts.Scene, not []alerts.Span) (alerts.Baseline, error) {
	w.notFrom = not
	return alerts.Baseline{ID: "b", Kind: "before", Requests: 1000, Errors: 2, P99: 0.4, Edge: 1, LE: "1.0"}, nil
}

func (w *world) start() {
	w.t.Helper()
	var err error
	w.ledger, err = OpenLedger(w.path)
	require.NoError(w.t, err)
	w.opts.Ledger = w.ledger
	w.engine, err = NewEngine(w.t.Context(), w.opts)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() { w.engine.Run(ctx) })
	w.stop = func() {
		cancel()
		running.Wait()
		require.NoError(w.t, w.ledger.Close())
	}
}

func (w *world) restart() {
	w.stop()
	w.start()
}

// pass lets time pass, and what is due happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// show sets what the gates find from now on: healthy, but for these.
func (w *world) show(findings ...alerts.Finding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.evidence = func(scene alerts.Scene) ([]alerts.Finding, error) { return but(healthy(scene.Now), findings...), nil }
}

func (w *world) breakEvidence(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.evidence = func(alerts.Scene) ([]alerts.Finding, error) { return nil, err }
}

// but replaces findings by those of the same gate.
func but(found []alerts.Finding, other ...alerts.Finding) []alerts.Finding {
	for i := range found {
		for _, f := range other {
			if f.Gate == found[i].Gate {
				found[i] = f
			}
		}
	}
	return found
}

func fires(gate string) alerts.Finding {
	observed, limit := 0.041, 0.01
	return alerts.Finding{
		Gate: gate, State: alerts.Firing, Mode: alerts.Enforce, Required: true, Coverage: 1, N: 812,
		Observed: &observed, Limit: &limit, Message: "5xx 4.1% > 1% for 5m (n=812)",
	}
}

func (w *world) register(strategy alerts.Strategy) Rollout {
	w.t.Helper()
	r, created, err := w.engine.Register(w.t.Context(), Registration{Service: w.opts.Services[0].Name, Version: "2.4.0", Strategy: strategy, PreviousImage: "api:2.3.9"}, "")
	require.NoError(w.t, err)
	require.True(w.t, created)
	return r
}

func (w *world) verdict(id string) Document {
	w.t.Helper()
	doc, err := w.engine.Document(w.t.Context(), id)
	require.NoError(w.t, err)
	return doc
}

// deliveries are those to the endpoint, oldest first, as type:state.
func (w *world) deliveries(endpoint string) []string {
	w.t.Helper()
	all, _, err := w.engine.Deliveries(w.t.Context(), Page{})
	require.NoError(w.t, err)
	var to []string
	for _, d := range slices.Backward(all) {
		if d.Endpoint == endpoint {
			to = append(to, string(d.Type)+":"+string(d.State))
		}
	}
	return to
}
