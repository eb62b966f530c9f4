package verdict

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

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
		require.Equal(t, 2, w.announced())

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
	t.Helper()
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

func TestAGateThatPanicsStopsNoOtherService(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		ill := w.register(alerts.Rolling)
		well, _, err := w.engine.Register(t.Context(), Registration{Service: "web", Version: "1", Strategy: alerts.Rolling}, "")
		require.NoError(t, err)
		w.pass(time.Minute)
		w.mu.Lock()
		w.evidence = func(scene alerts.Scene) ([]alerts.Finding, error) {
			if scene.Service.Name == "api" {
				panic("a tenant of that name")
			}
			return healthy(scene.Now), nil
		}
		w.mu.Unlock()
		w.pass(4 * tick)
		require.Equal(t, Continue, w.verdict(well.ID).Verdict)
		_, err = w.engine.Document(t.Context(), ill.ID)
		require.ErrorContains(t, err, "a gate panicked: a tenant of that name")

		w.show()
		w.pass(tick)
		require.Equal(t, Continue, w.verdict(ill.ID).Verdict)
	}, "api", "web")
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
		for range 10 {
			w.pass(tick)
			for _, name := range services[5:] {
				require.Less(t, time.Since(w.verdict(ids[name]).AsOf), 2*tick, name)
			}
		}
		for _, name := range services[:5] {
			_, err := w.engine.Document(t.Context(), ids[name])
			require.ErrorContains(t, err, "deadline", name)
		}
	}, services...)
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
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		for _, problem := range problems {
			require.Equal(t, "rollwatch_latency_edge", problem.Metric, "%s (its le is what rules join histograms on)", problem.Text)
		}
		states, err := testutil.GatherAndCount(registry, "rollwatch_gate_state")
		require.NoError(t, err)
		require.Equal(t, 6*len(alerts.States), states)
	})
}

func TestWhatWasCountedOfARolloutIsKeptWhileItIsJudged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first := w.register(alerts.Canary)
		kept := w.lastScene().Kept
		require.NotNil(t, kept)
		w.pass(tick)
		require.Same(t, kept, w.lastScene().Kept)
		w.show(fires("error_ratio"))
		w.pass(2 * time.Minute)
		require.Nil(t, w.engine.inMemory(first.ID).kept, "a final one needs no memory")

		w.show()
		w.register(alerts.Canary)
		require.NotSame(t, kept, w.lastScene().Kept)
	})
}
