package api

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/verdict"
)

// interval is the time between two judgements of a judge.
const interval = 15 * time.Second

// A judge is the real engine, on findings and a ledger of its own, that can be
// made to fail. It judges at registration and at changes; run makes it judge
// at each interval too.
type judge struct {
	*verdict.Engine

	t      *testing.T
	window *collector.Memory

	mu       sync.Mutex
	findings []alerts.Finding
	blind    error // why evidence cannot be read
	err      error // why the ledger cannot be read
	hanging  bool  // reading the ledger does not end
}

// blankLedger is the file of a ledger without entries: making one takes twenty
// times as long as writing it.
var blankLedger = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "rollwatch-ledger-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ledger, err := verdict.OpenLedger(filepath.Join(dir, "ledger.db"))
	if err != nil {
		return nil, err
	}
	if err := ledger.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "ledger.db"))
})

func newJudge(t *testing.T, dryRun bool) *judge {
	t.Helper()
	j := &judge{t: t, window: collector.NewMemory()}
	blank, err := blankLedger()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "ledger.db")
	require.NoError(t, os.WriteFile(path, blank, 0o600))
	ledger, err := verdict.OpenLedger(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ledger.Close()) })
	config := verdict.DefaultConfig()
	config.DryRun = dryRun
	j.Engine, err = verdict.NewEngine(t.Context(), verdict.Options{
		Config:    config,
		Services:  []*alerts.Service{{Name: "api"}, {Name: "web"}, {Name: "team/api"}},
		Window:    j.window,
		Ledger:    ledger,
		Interval:  interval,
		Endpoints: []verdict.Endpoint{{Name: "deployer"}},
		Evaluate: func(context.Context, []alerts.Gate, alerts.Scene) ([]alerts.Finding, error) {
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.findings, j.blind
		},
		TakeBaseline: func(context.Context, []alerts.Gate, alerts.Scene, []alerts.Span) (alerts.Baseline, error) {
			return alerts.Baseline{ID: "b", Kind: "before", Requests: 1000, Errors: 2, P99: 0.4, Edge: 1}, nil
		},
	})
	require.NoError(t, err)
	return j
}

// set changes how the judge is.
func (j *judge) set(change func(j *judge)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(j)
}

// run judges at each interval until the test is over.
func (j *judge) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { j.Run(ctx) })
	j.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// decide makes the verdict on the rollout another one, as a human may.
func (j *judge) decide(id string, word verdict.Word) {
	_, err := j.SetOverride(context.Background(), id, verdict.Override{
		Verdict: word, Reason: "the test says so", Author: "test", Until: time.Now().Add(time.Hour),
	})
	if err != nil {
		j.t.Error(err) // from any goroutine
	}
}

// Document stands for all that reads the ledger.
func (j *judge) Document(ctx context.Context, id string) (verdict.Document, error) {
	if err := j.trouble(ctx); err != nil {
		return verdict.Document{}, err
	}
	return j.Engine.Document(ctx, id)
}

// Rollout likewise.
func (j *judge) Rollout(ctx context.Context, id string) (verdict.Rollout, error) {
	if err := j.trouble(ctx); err != nil {
		return verdict.Rollout{}, err
	}
	return j.Engine.Rollout(ctx, id)
}

func (j *judge) trouble(ctx context.Context) error {
	j.mu.Lock()
	err, hanging := j.err, j.hanging
	j.mu.Unlock()
	if hanging {
		<-ctx.Done()
		return fmt.Errorf("read the ledger: %w", ctx.Err())
	}
	return err
}

// firing is a finding that rolls back.
func firing() alerts.Finding {
	observed, limit := 0.041, 0.01
	return alerts.Finding{
		Gate: "error_ratio", State: alerts.Firing, Mode: alerts.Enforce, Scope: map[string]string{"track": "canary"},
		Observed: &observed, Unit: "ratio", Limit: &limit, Baseline: &alerts.BaselineValue{Kind: "stable", Value: 0.002, N: 9120},
		N: 812, Window: "5m", Since: time.Now().Add(-5 * time.Minute), Cause: alerts.Version, InGrace: true,
		Evidence: &alerts.Evidence{Method: "spans and guard", Guard: 68.1, Needed: 11.5, Spans: 5, SpansOver: 5},
		Message:  "5xx 4.1% > 1% for 5m (n=812)", Required: true, Seen: true, Coverage: 1,
	}
}
