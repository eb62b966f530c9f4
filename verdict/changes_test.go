package verdict

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/alerts"
)

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
		require.Equal(t, at, w.lastScene().After, "only what came after the override is evidence")
		w.pass(time.Minute + tick)
		doc = w.verdict(r.ID)
		require.Equal(t, Rollback, doc.Verdict, "it fires still, on evidence after the override")
		require.Nil(t, doc.Override)
		require.EqualValues(t, 4, doc.Seq)
	})
}

func TestAnOverrideToPromoteLatchesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Canary)
		w.pass(3 * time.Minute)
		at := time.Now().UTC()
		_, err := w.engine.SetOverride(t.Context(), r.ID, Override{Verdict: Promote, Reason: "it cannot wait", Author: "ada", Until: at.Add(20 * time.Minute)})
		require.NoError(t, err)
		require.Equal(t, Promote, w.verdict(r.ID).Verdict)
		w.show(alerts.Finding{Gate: "error_ratio", State: alerts.Pending, Mode: alerts.Enforce, Required: true, Coverage: 1, N: 812})
		w.pass(19 * time.Minute)
		require.Equal(t, Promote, w.verdict(r.ID).Verdict)
		require.True(t, w.lastScene().Subject.Promoted, "the traffic may have gone to it")

		w.pass(time.Minute + tick)
		doc := w.verdict(r.ID)
		require.Equal(t, HoldOn, doc.Verdict, "the evidence decides again")
		require.Nil(t, doc.Override)
		require.False(t, doc.Final)
		require.Equal(t, at, w.lastScene().After)
		w.pass(20 * time.Minute)
		require.False(t, w.verdict(r.ID).Final, "what may be in production is watched to the end of the after-watch")

		w.show()
		w.pass(tick)
		require.Equal(t, Promote, w.verdict(r.ID).Verdict)
		w.show(alerts.Finding{Gate: "error_ratio", State: alerts.Pending, Mode: alerts.Enforce, Required: true, Coverage: 1, N: 812})
		w.pass(tick)
		require.Equal(t, Promote, w.verdict(r.ID).Verdict, "what the judge has promoted stays so")
	})
}

func TestAnOverrideToPromoteThatEndsUnderWatchGoesOnWatching(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		_, err := w.engine.SetOverride(t.Context(), r.ID, Override{Verdict: Promote, Reason: "it cannot wait", Author: "ada", Until: time.Now().Add(10 * time.Minute)})
		require.NoError(t, err)
		w.restart()
		w.pass(10*time.Minute + tick)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict)
	})
}

func TestAnOverrideToRollBackIsFinalForWhoActedOnIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Canary)
		_, err := w.engine.SetOverride(t.Context(), r.ID, Override{Verdict: Rollback, Reason: "customers call", Author: "ada", Until: time.Now().Add(time.Minute)})
		require.NoError(t, err)
		w.pass(20 * time.Minute)
		doc := w.verdict(r.ID)
		require.Equal(t, Rollback, doc.Verdict)
		require.True(t, doc.Final)
	})
}

func TestEveryTransitionIsOneLineOfTheLog(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Log = zap.New(core)
		w.restart()
		r := w.register(alerts.Rolling)
		w.pass(3 * time.Minute)
		w.show(fires("error_ratio"))
		w.pass(time.Minute)
		lines := logs.FilterMessage("verdict").All()
		require.Len(t, lines, 2, "judgements that change nothing are not told")
		require.Equal(t, zap.InfoLevel, lines[0].Level)
		require.Equal(t, "continue", lines[0].ContextMap()["to"])
		told := lines[1]
		require.Equal(t, zap.WarnLevel, told.Level, "somebody may have to get up")
		require.Equal(t, map[string]any{
			"service": "api", "rollout": r.ID, "version": "2.4.0", "from": "continue", "to": "rollback", "final": true, "dryRun": false,
			"reason": "roll back: 5xx 4.1% > 1% for 5m (n=812)", "seq": int64(2),
		}, told.ContextMap())
	})
}

func TestFindingsLeadToWhereTheyAreDrawn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Link = NewLinker("https://rollwatch.example/base/")
		w.restart()
		r := w.register(alerts.Rolling)
		w.pass(3 * time.Minute)
		w.show(fires("error_ratio"))
		w.pass(tick)
		want := "https://rollwatch.example/base/api/v1/rollouts/" + r.ID + "/report?format=svg&gate=error_ratio"
		require.Equal(t, want, w.verdict(r.ID).Reasons[0].Link)
		all, _, err := w.engine.Deliveries(t.Context(), Page{})
		require.NoError(t, err)
		var event Event
		require.NoError(t, json.Unmarshal(all[0].Payload, &event))
		require.Equal(t, want, event.Data.Reasons[0].Link, "webhooks lead there too")
	})
	require.Equal(t, "/api/v1/rollouts/r-1/report?format=svg&gate=a+b", NewLinker("")("r-1", "a b"), "without an address it is one of this server")
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
		closed, err := w.engine.Rollout(t.Context(), bad.ID)
		require.NoError(t, err)
		require.Empty(t, closed.SupersededBy, "what is closed is not superseded")

		w.pass(3 * time.Minute)
		third := w.register(alerts.Rolling)
		doc := w.verdict(second.ID)
		require.Equal(t, HoldOn, doc.Verdict)
		require.True(t, doc.Final)
		require.Equal(t, third.ID, doc.SupersededBy)
		newest, err := w.engine.Newest(t.Context(), "api")
		require.NoError(t, err)
		require.Equal(t, third.ID, newest)
		_, err = w.engine.Newest(t.Context(), "appi")
		require.ErrorContains(t, err, `service "appi" is not in the configuration; it must be one of: api`)

		w.pass(tick)
		require.Len(t, w.engine.watches, 1, "closed rollouts leave memory")
		require.Equal(t, HoldOn, w.verdict(second.ID).Verdict, "and are served from the ledger")
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
		require.Equal(t, 2, w.announced())
	})
}

func TestWhoWaitsOnAClosedRolloutHearsOfItsOverride(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		old := w.register(alerts.Rolling)
		w.register(alerts.Rolling)
		w.pass(tick)
		require.Len(t, w.engine.watches, 1, "the superseded one left memory")
		heard := make(chan Word, 1)
		go func() {
			if doc, err := w.engine.Await(t.Context(), old.ID, 2); err == nil {
				heard <- doc.Verdict
			}
		}()
		w.pass(tick)
		require.Empty(t, heard)
		_, err := w.engine.SetOverride(t.Context(), old.ID, Override{Verdict: Continue, Reason: "both run", Author: "ada", Until: time.Now().Add(time.Minute)})
		require.NoError(t, err)
		w.pass(time.Second)
		require.Len(t, heard, 1)
		require.Equal(t, Continue, <-heard)
	})
}

func TestWhatIsDecidedWhileEvidenceIsReadStands(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		reading, goOn := make(chan struct{}), make(chan struct{})
		w.mu.Lock()
		w.evidence = func(scene alerts.Scene) ([]alerts.Finding, error) {
			close(reading)
			<-goOn
			return but(healthy(scene.Now), fires("error_ratio")), nil
		}
		w.mu.Unlock()
		<-reading
		_, err := w.engine.Finish(t.Context(), r.ID, Promoted)
		require.NoError(t, err)
		close(goOn)
		w.pass(time.Second)
		doc := w.verdict(r.ID)
		require.Equal(t, Continue, doc.Verdict)
		require.Empty(t, doc.Reasons, "a judgement that comes late changes nothing")
	})
}
