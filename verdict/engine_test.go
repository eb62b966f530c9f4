package verdict

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
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
	owed     int            // how often deliveries were announced
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
		w.opts.OnOwed = func() { w.owed++ }
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

func (w *world) takeBaseline(_ context.Context, _ []alerts.Gate, _ alerts.Scene, not []alerts.Span) (alerts.Baseline, error) {
	w.notFrom = not
	return alerts.Baseline{ID: "b", Kind: "before", Requests: 1000, Errors: 2, P99: 0.4, Edge: 1}, nil
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
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Endpoint == endpoint {
			to = append(to, string(all[i].Type)+":"+string(all[i].State))
		}
	}
	return to
}

func TestABadCanaryIsRolledBackOnceAndForAll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Canary)
		require.Equal(t, "r-20000101-0000-api", r.ID)
		doc := w.verdict(r.ID)
		require.Equal(t, Continue, doc.Verdict)
		require.EqualValues(t, 1, doc.Seq)

		w.pass(7 * time.Minute)
		doc = w.verdict(r.ID)
		require.EqualValues(t, 1, doc.Seq, "nothing changed, but the judgement is of now")
		require.Equal(t, time.Now().UTC(), doc.AsOf.UTC())
		require.Equal(t, 46, doc.Percent)

		w.show(fires("error_ratio"))
		w.pass(tick)
		doc = w.verdict(r.ID)
		require.Equal(t, Rollback, doc.Verdict)
		require.True(t, doc.Final)
		require.Equal(t, "roll back: 5xx 4.1% > 1% for 5m (n=812)", doc.Progress)
		require.Equal(t, "image", doc.Action.Kind)
		decided := doc.AsOf

		w.show()
		w.pass(time.Hour)
		doc = w.verdict(r.ID)
		require.Equal(t, Rollback, doc.Verdict)
		require.Equal(t, decided, doc.AsOf, "what decided stays the reason")
		require.Len(t, doc.Reasons, 1)
		require.Equal(t, []string{"verdict.changed:owed", "verdict.final:owed"}, w.deliveries("deployer"))
		require.Equal(t, []string{"verdict.final:owed"}, w.deliveries("pager"))
		require.Equal(t, 2, w.owed)

		w.restart()
		require.Equal(t, Rollback, w.verdict(r.ID).Verdict, "a latched rollback needs no judgement")
	})
}

func TestAHealthyBlueGreenIsPromotedAndWatchedOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.BlueGreen)
		w.pass(5*time.Minute - tick)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict)
		w.pass(2 * tick)
		doc := w.verdict(r.ID)
		require.Equal(t, Promote, doc.Verdict)
		require.False(t, doc.Final)
		require.Equal(t, PhaseAfter, doc.Phase)

		w.restart()
		w.pass(2 * tick)
		require.EqualValues(t, 2, w.verdict(r.ID).Seq, "a restart is no news")
		w.pass(2 * time.Hour)
		doc = w.verdict(r.ID)
		require.Equal(t, Promote, doc.Verdict)
		require.True(t, doc.Final)
		require.Equal(t, []string{"verdict.changed:owed", "verdict.changed:owed", "verdict.final:owed"}, w.deliveries("deployer"))
	})
}

// changeable is evidence that depends on nothing but the time since the start.
func changeable(scene alerts.Scene) ([]alerts.Finding, error) {
	found := healthy(scene.Now)
	held := fires("queue_failed")
	held.Mode = alerts.Hold
	pending := fires("latency_p99")
	pending.State = alerts.Pending
	lost := alerts.Finding{Gate: "error_ratio", State: alerts.NoSeries, Mode: alerts.Enforce, Required: true, Seen: true}
	switch elapsed := scene.Now.Sub(scene.Subject.StartedAt); {
	case elapsed >= 3*time.Minute && elapsed < 4*time.Minute:
		return but(found, held), nil
	case elapsed >= 6*time.Minute && elapsed < 10*time.Minute:
		lost.LastSeen = scene.Subject.StartedAt.Add(6 * time.Minute)
		return but(found, lost), nil
	case elapsed >= 14*time.Minute && elapsed < 16*time.Minute:
		return but(found, pending), nil
	case elapsed >= 20*time.Minute:
		return but(found, fires("error_ratio")), nil
	}
	return found, nil
}

// story lists the transitions of a rollout under changeable evidence, with a
// restart of the daemon after so many ticks (none: negative).
func story(t *testing.T, restartAfter int) []string {
	var told []string
	inWorld(t, func(t *testing.T, w *world) {
		w.evidence = changeable
		r := w.register(alerts.Canary)
		for i := range 84 {
			if i == restartAfter {
				w.restart()
			}
			w.pass(tick)
		}
		rows, err := w.ledger.read.QueryContext(t.Context(), "SELECT document FROM transitions WHERE rollout = ? ORDER BY seq", r.ID)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var text string
			require.NoError(t, rows.Scan(&text))
			told = append(told, text)
		}
		require.NoError(t, rows.Err())
	})
	return told
}

func TestARestartAtAnyTickChangesNothing(t *testing.T) {
	undisturbed := story(t, -1)
	require.Len(t, undisturbed, 8)
	for after := 0; after < 84; after += 4 {
		require.Equal(t, undisturbed, story(t, after), "restart after %d ticks", after)
	}
}

func TestAJudgeWithoutEvidenceSaysSo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		w.pass(time.Minute)
		w.breakEvidence(errors.New("window is away"))
		w.pass(2 * tick)
		doc := w.verdict(r.ID)
		require.Contains(t, doc.Degraded, "window is away", "still believed, but said")
		require.Contains(t, w.engine.Degraded(), r.ID)

		w.pass(2 * tick)
		_, err := w.engine.Document(t.Context(), r.ID)
		refusal, ok := errors.AsType[*Error](err)
		require.True(t, ok)
		require.Equal(t, Unavailable, refusal.Code)
		require.Equal(t, tick, refusal.RetryAfter)
		require.Contains(t, refusal.Message, "window is away")

		w.show()
		w.pass(tick)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict)
		require.Empty(t, w.engine.Degraded())
	})
}

func TestWhatIsOnRecordDecidesWithoutEvidence(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		w.breakEvidence(errors.New("window is away"))
		_, err := w.engine.SetOverride(t.Context(), r.ID, Override{Verdict: HoldOn, Reason: "wait", Author: "ada", Until: time.Now().Add(time.Hour)})
		require.NoError(t, err)
		w.pass(10 * time.Minute)
		require.Equal(t, HoldOn, w.verdict(r.ID).Verdict)
	})
}

func TestAVerdictThatCannotBeRecordedIsNotShown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		w.pass(time.Minute)
		fillDisk(t, w.ledger.write)
		big := fires("error_ratio")
		big.Message = string(make([]byte, 1<<18))
		w.show(big)
		w.pass(tick)
		doc := w.verdict(r.ID)
		require.Equal(t, Continue, doc.Verdict)
		require.Contains(t, doc.Degraded, "the disk is full")
		require.Len(t, w.deliveries("deployer"), 1)

		w.pass(3 * tick)
		_, err := w.engine.Document(t.Context(), r.ID)
		require.ErrorContains(t, err, "the disk is full")

		makeRoom(t, w.ledger.write)
		w.pass(tick)
		doc = w.verdict(r.ID)
		require.Equal(t, Rollback, doc.Verdict)
		require.Empty(t, doc.Degraded)
		require.EqualValues(t, 2, doc.Seq)
		require.Len(t, w.deliveries("deployer"), 2)
	})
}

func TestAWriteThatFailedAndYetHappenedIsNotRepeated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		change := sampleTransition(r, 2, "deployer")
		change.rollout.Verdict, change.document.Verdict = HoldOn, HoldOn
		require.NoError(t, w.ledger.record(t.Context(), change))
		w.engine.inMemory(r.ID).fail(errors.New("the answer to the write was lost"), true)
		w.pass(tick)
		doc := w.verdict(r.ID)
		require.EqualValues(t, 3, doc.Seq, "hold was recorded as 2, so continue is 3")
		require.Equal(t, Continue, doc.Verdict)
	})
}

func TestManyWaitForOneChange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		var waiting sync.WaitGroup
		got := make(chan Word, 500)
		for range 500 {
			waiting.Go(func() {
				doc, err := w.engine.Await(t.Context(), r.ID, 1)
				if err == nil {
					got <- doc.Verdict
				}
			})
		}
		w.pass(3 * time.Minute)
		require.Empty(t, got)
		w.show(fires("error_ratio"))
		w.pass(tick)
		waiting.Wait()
		require.Len(t, got, 500)
		require.Equal(t, Rollback, <-got)

		short, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		doc, err := w.engine.Await(short, r.ID, 2)
		require.NoError(t, err)
		require.EqualValues(t, 2, doc.Seq)
		require.Equal(t, time.Minute, time.Since(began), "nothing newer came")

		_, err = w.engine.Await(t.Context(), "r-none", 0)
		require.Equal(t, NotFound, err.(*Error).Code)
	})
}

func TestOneServiceThatHangsStopsNoOther(t *testing.T) {
	var services []string
	for i := range 50 {
		services = append(services, fmt.Sprintf("s%02d", i))
	}
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Evaluate = func(ctx context.Context, _ []alerts.Gate, scene alerts.Scene) ([]alerts.Finding, error) {
			if scene.Service.Name < "s05" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return healthy(scene.Now), nil
		}
		w.restart()
		ids := make(map[string]string)
		for _, name := range services {
			r, _, err := w.engine.Register(t.Context(), Registration{Service: name, Version: "1", Strategy: alerts.Rolling}, "")
			require.NoError(t, err)
			ids[name] = r.ID
		}
		w.pass(10 * tick)
		for _, name := range services {
			doc, err := w.engine.Document(t.Context(), ids[name])
			if name < "s05" {
				require.ErrorContains(t, err, "deadline", name)
				continue
			}
			require.NoError(t, err)
			require.Less(t, time.Since(doc.AsOf), 2*tick, name)
		}
	}, services...)
}

func TestOverrideLiftsARollbackUntilNewEvidence(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		w.pass(3 * time.Minute)
		w.show(fires("error_ratio"))
		w.pass(tick)
		require.Equal(t, Rollback, w.verdict(r.ID).Verdict)

		at := time.Now().UTC()
		_, err := w.engine.SetOverride(t.Context(), r.ID, Override{Verdict: Continue, Reason: "a load test", Author: "ada", Until: at.Add(10 * time.Minute)})
		require.NoError(t, err)
		doc := w.verdict(r.ID)
		require.Equal(t, Continue, doc.Verdict)
		require.False(t, doc.Final)
		require.Equal(t, "a load test", doc.Override.Reason)
		require.Len(t, doc.Reasons, 1, "what fires is still shown")

		w.restart()
		w.pass(9 * time.Minute)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict)
		require.Equal(t, at, w.scenes[len(w.scenes)-1].After, "only what came after the override is evidence")
		w.pass(time.Minute + tick)
		doc = w.verdict(r.ID)
		require.Equal(t, Rollback, doc.Verdict, "it fires still, on evidence after the override")
		require.Nil(t, doc.Override)
		require.EqualValues(t, 4, doc.Seq)
	})
}

func TestFinishKeepsTheLastVerdict(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		w.pass(3 * time.Minute)
		finished, err := w.engine.Finish(t.Context(), r.ID, Promoted)
		require.NoError(t, err)
		require.True(t, finished.Final)
		require.Equal(t, Promoted, finished.Outcome)
		w.show(fires("error_ratio"))
		w.pass(time.Hour)
		doc := w.verdict(r.ID)
		require.Equal(t, Continue, doc.Verdict)
		require.True(t, doc.Final)

		_, err = w.engine.Finish(t.Context(), r.ID, Promoted)
		require.NoError(t, err, "said twice is said once")
		_, err = w.engine.Finish(t.Context(), r.ID, Aborted)
		require.Equal(t, Conflict, err.(*Error).Code)
		_, err = w.engine.AddStage(t.Context(), r.ID, Stage{Note: "late"})
		require.Equal(t, Conflict, err.(*Error).Code)
		_, err = w.engine.SetOverride(t.Context(), r.ID, Override{Verdict: HoldOn, Reason: "r", Author: "a", Until: time.Now().Add(time.Hour)})
		require.Equal(t, Conflict, err.(*Error).Code)
		require.Equal(t, []string{"verdict.changed:owed", "verdict.final:owed"}, w.deliveries("deployer"))
	})
}

func TestFinishingARolledBackRolloutIsRecordedWithoutNews(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		w.pass(3 * time.Minute)
		w.show(fires("error_ratio"))
		w.pass(tick)
		_, err := w.engine.Finish(t.Context(), r.ID, RolledBack)
		require.NoError(t, err)
		w.restart()
		kept, err := w.engine.Rollout(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, RolledBack, kept.Outcome)
		require.EqualValues(t, 2, kept.Seq)
		require.Len(t, w.verdict(r.ID).Reasons, 1)
	})
}

func TestANewerRolloutSupersedesAndLearnsNothingFromARolledBackOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		began := time.Now().UTC()
		bad := w.register(alerts.Rolling)
		w.pass(3 * time.Minute)
		w.show(fires("error_ratio"))
		w.pass(tick)
		w.show()
		second := w.register(alerts.Rolling)
		require.Equal(t, []alerts.Span{{From: began, To: time.Now().UTC()}}, w.notFrom)
		require.Equal(t, Rollback, w.verdict(bad.ID).Verdict, "a rollback stays one")

		w.pass(3 * time.Minute)
		third := w.register(alerts.Rolling)
		doc := w.verdict(second.ID)
		require.Equal(t, HoldOn, doc.Verdict)
		require.True(t, doc.Final)
		require.Equal(t, third.ID, doc.SupersededBy)
		newest, err := w.engine.Newest(t.Context(), "api")
		require.NoError(t, err)
		require.Equal(t, third.ID, newest)

		w.pass(tick)
		require.Len(t, w.engine.watches, 1, "closed rollouts leave memory")
		require.Equal(t, HoldOn, w.verdict(second.ID).Verdict, "and are served from the ledger")
	})
}

func TestAServiceThatIsConfiguredNoMoreIsNeverPromoted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.BlueGreen)
		w.opts.Services = nil
		w.restart()
		w.pass(11 * time.Minute)
		doc := w.verdict(r.ID)
		require.Equal(t, HoldOn, doc.Verdict)
		require.True(t, doc.Final)
	})
}

func TestStages(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Canary)
		weight := 10.0
		_, err := w.engine.AddStage(t.Context(), r.ID, Stage{Weight: &weight})
		require.NoError(t, err)
		got, err := w.engine.AddStage(t.Context(), r.ID, Stage{Note: "looks good"})
		require.NoError(t, err)
		require.Len(t, got.Stages, 2)
		w.restart()
		kept, err := w.engine.Rollout(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, got.Stages, kept.Stages)
		weight = 101
		_, err = w.engine.AddStage(t.Context(), r.ID, Stage{Weight: &weight})
		require.Equal(t, "weight", err.(*Error).Field)
	})
}

func TestReplayOwesAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.register(alerts.Canary)
		all, _, err := w.engine.Deliveries(t.Context(), Page{})
		require.NoError(t, err)
		done := all[0]
		done.State, done.DeliveredAt = Delivered, time.Now()
		require.NoError(t, w.ledger.Settle(t.Context(), done))
		again, err := w.engine.ReplayDelivery(t.Context(), done.ID)
		require.NoError(t, err)
		require.Equal(t, Owed, again.State)
		require.Equal(t, done.Event, again.Event)
		require.Equal(t, 2, w.owed)
	})
}

func TestMetricsAreOfTheNewestRollout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(w.engine))
		w.register(alerts.Rolling)
		w.pass(time.Minute)
		r := w.register(alerts.Rolling)
		w.show(fires("error_ratio"))
		w.pass(2 * time.Minute)
		require.NoError(t, testutil.GatherAndCompare(registry, metricsOf(r.ID),
			"rollwatch_rollout_info", "rollwatch_verdict", "rollwatch_baseline", "rollwatch_latency_edge",
			"rollwatch_gate_observed", "rollwatch_gate_limit", "rollwatch_judge_degraded"))
		states, err := testutil.GatherAndCount(registry, "rollwatch_gate_state")
		require.NoError(t, err)
		require.Equal(t, 6*len(alerts.States), states)
	})
}
