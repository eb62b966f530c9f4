package verdict

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

func TestAPhaseSaysWhereToLookFirst(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	policy := DefaultConfig().Policy(tick)
	var found []alerts.Finding
	for _, gate := range []string{"error_ratio", "queue_stalled", "latency_p99", "tenant_errors", "replica_lag", "outage", "outage"} {
		found = append(found, alerts.Finding{Gate: gate, State: alerts.OK, Mode: alerts.Enforce})
	}
	looksAt := func(strategy alerts.Strategy, after time.Duration, p Policy) []string {
		r := Rollout{Registration: Registration{Service: "api", Strategy: strategy, Kind: Deploy, StartedAt: now.Add(-after)}}
		return Judge(r, found, p, now).LooksAt
	}
	require.Equal(t, []string{"error_ratio", "outage"}, looksAt(alerts.Rolling, time.Minute, policy))
	require.Equal(t, []string{"latency_p99", "queue_stalled"}, looksAt(alerts.Rolling, 10*time.Minute, policy))
	require.Equal(t, []string{"replica_lag", "tenant_errors"}, looksAt(alerts.Rolling, time.Hour, policy))
	require.Empty(t, looksAt(alerts.Rolling, 3*time.Hour, policy), "the watch is over")
	require.Empty(t, looksAt(alerts.Canary, time.Minute, policy), "one phase looks at all")
	policy.RollingPhases = policy.RollingPhases[:1]
	require.Equal(t, []string{"latency_p99", "queue_stalled", "replica_lag", "tenant_errors"}, looksAt(alerts.Rolling, time.Hour, policy), "the last looks at what is left")
}

func TestADocumentShowsTheStageAtOnceAndFromThenOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Canary)
		require.Nil(t, w.verdict(r.ID).Stage)
		weight := 25.0
		_, err := w.engine.AddStage(t.Context(), r.ID, Stage{Weight: &weight, Note: "a quarter"})
		require.NoError(t, err)
		require.InDelta(t, 25, *w.verdict(r.ID).Stage.Weight, 0)
		w.pass(tick)
		require.Equal(t, "a quarter", w.verdict(r.ID).Stage.Note)
		weight = 50
		_, err = w.engine.AddStage(t.Context(), r.ID, Stage{Weight: &weight})
		require.NoError(t, err)
		w.restart()
		w.pass(tick)
		require.InDelta(t, 50, *w.verdict(r.ID).Stage.Weight, 0)
		require.Empty(t, w.verdict(r.ID).Stage.Note)
	})
}
