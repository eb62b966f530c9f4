package verdict

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

func metricsOf(id string) io.Reader {
	return strings.NewReader(strings.ReplaceAll(`
# HELP rollwatch_baseline What a service was like before its newest rollout: the ratio of errors, seconds of latency, or the ratio of requests slower than the latency edge.
# TYPE rollwatch_baseline gauge
rollwatch_baseline{service="api",signal="error_ratio"} 0.002
rollwatch_baseline{service="api",signal="latency_p99"} 0.4
# HELP rollwatch_gate_limit The limit that a gate holds against what it observes.
# TYPE rollwatch_gate_limit gauge
rollwatch_gate_limit{gate="error_ratio",service="api"} 0.01
# HELP rollwatch_gate_observed What a gate observed of the newest rollout, in the unit of the gate.
# TYPE rollwatch_gate_observed gauge
rollwatch_gate_observed{gate="error_ratio",service="api"} 0.041
# HELP rollwatch_judge_degraded 1 while a verdict cannot be judged or recorded, otherwise 0.
# TYPE rollwatch_judge_degraded gauge
rollwatch_judge_degraded 0
# HELP rollwatch_latency_edge 1 for the bucket edge by which the latency of the newest rollout is judged.
# TYPE rollwatch_latency_edge gauge
rollwatch_latency_edge{le="1.0",service="api"} 1
# HELP rollwatch_rollout_info The newest rollout of a service.
# TYPE rollwatch_rollout_info gauge
rollwatch_rollout_info{previous_version="",rollout="ID",service="api",strategy="rolling",version="2.4.0"} 1
# HELP rollwatch_verdict 1 for the verdict on the newest rollout of a service, 0 for the others; no series while there is none to believe.
# TYPE rollwatch_verdict gauge
rollwatch_verdict{rollout="ID",service="api",verdict="continue"} 0
rollwatch_verdict{rollout="ID",service="api",verdict="hold"} 0
rollwatch_verdict{rollout="ID",service="api",verdict="promote"} 0
rollwatch_verdict{rollout="ID",service="api",verdict="rollback"} 1
`, "ID", id))
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	long := strings.Repeat("x", maxName+1)
	cases := map[string]struct {
		change func(*Registration)
		field  string
	}{
		"unknown service":      {func(r *Registration) { r.Service = "nobody" }, "service"},
		"no version":           {func(r *Registration) { r.Version = "" }, "version"},
		"long version":         {func(r *Registration) { r.Version = long }, "version"},
		"unprintable version":  {func(r *Registration) { r.Version = "1\x1b[2J" }, "version"},
		"invalid UTF-8":        {func(r *Registration) { r.Commit = "\xff" }, "commit"},
		"no strategy":          {func(r *Registration) { r.Strategy = "" }, "strategy"},
		"unknown strategy":     {func(r *Registration) { r.Strategy = "big-bang" }, "strategy"},
		"unknown kind":         {func(r *Registration) { r.Kind = "experiment" }, "kind"},
		"from the future":      {func(r *Registration) { r.StartedAt = time.Now().Add(2 * time.Minute) }, "started_at"},
		"older than its watch": {func(r *Registration) { r.StartedAt = time.Now().Add(-16 * time.Minute) }, "started_at"},
		"long image":           {func(r *Registration) { r.PreviousImage = long }, "previous_image"},
		"long flag":            {func(r *Registration) { r.FeatureFlags = []string{"a", long} }, "feature_flags[1]"},
		"many flags":           {func(r *Registration) { r.FeatureFlags = make([]string, maxList+1) }, "feature_flags"},
		"long label":           {func(r *Registration) { r.Labels = map[string]string{"team": long} }, "labels.team"},
		"migration of no kind": {func(r *Registration) { r.Migrations = []Migration{{Name: "1"}} }, "migrations[0].kind"},
		"long reverse": {func(r *Registration) {
			r.Migrations = []Migration{{Kind: Additive}, {Kind: Data, Reverse: long}}
		}, "migrations[1].reverse"},
	}
	inWorld(t, func(t *testing.T, w *world) {
		for name, c := range cases {
			reg := Registration{Service: "api", Version: "2.4.0", Strategy: alerts.Canary}
			c.change(&reg)
			_, _, err := w.engine.Register(t.Context(), reg, "")
			require.Error(t, err, name)
			refusal := err.(*Error)
			require.Equal(t, Invalid, refusal.Code, name)
			require.Equal(t, c.field, refusal.Field, name)
			require.NotContains(t, refusal.Message, long, name)
		}
		all, _, err := w.engine.Rollouts(t.Context(), "", Page{})
		require.NoError(t, err)
		require.Empty(t, all)
	})
}

func TestOverridesThatAreRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Canary)
		for field, change := range map[string]func(*Override){
			"verdict": func(o *Override) { o.Verdict = "maybe" },
			"reason":  func(o *Override) { o.Reason = "" },
			"author":  func(o *Override) { o.Author = "" },
			"until":   func(o *Override) { o.Until = time.Now().Add(8 * 24 * time.Hour) },
		} {
			override := Override{Verdict: HoldOn, Reason: "wait", Author: "ada", Until: time.Now().Add(time.Hour)}
			change(&override)
			_, err := w.engine.SetOverride(t.Context(), r.ID, override)
			require.Error(t, err, field)
			require.Equal(t, field, err.(*Error).Field)
		}
		_, err := w.engine.SetOverride(t.Context(), "r-none", Override{Verdict: HoldOn, Reason: "wait", Author: "ada", Until: time.Now().Add(time.Hour)})
		require.Equal(t, NotFound, err.(*Error).Code)
	})
}

func TestTheSameKeyRegistersOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		reg := Registration{Service: "api", Version: "2.4.0", Strategy: alerts.Canary}
		first, created, err := w.engine.Register(t.Context(), reg, "build-7")
		require.NoError(t, err)
		require.True(t, created)
		w.pass(5 * time.Minute)
		w.restart()
		again, created, err := w.engine.Register(t.Context(), reg, "build-7")
		require.NoError(t, err)
		require.False(t, created)
		require.Equal(t, first.ID, again.ID)

		reg.Version = "2.5.0"
		_, _, err = w.engine.Register(t.Context(), reg, "build-7")
		require.Equal(t, Conflict, err.(*Error).Code)
		_, _, err = w.engine.Register(t.Context(), reg, strings.Repeat("k", maxName+1))
		require.Equal(t, "Idempotency-Key", err.(*Error).Field)
	})
}

func TestACanaryThatNothingComparesIsToldSo(t *testing.T) {
	const note = "the canary is not compared with the old version: no metrics of the service are configured, so it is judged by limits alone, on all that the service does"
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Canary)
		require.Equal(t, []string{note}, r.Notes)
		w.restart()
		w.pass(tick)
		require.Equal(t, []string{note}, w.verdict(r.ID).Notes, "the document says so as long as it is watched")
		again, err := w.engine.Rollout(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, []string{note}, again.Notes)

		back, _, err := w.engine.Register(t.Context(), Registration{Service: "api", Version: "1", Strategy: alerts.Canary, Kind: KindOfRollback}, "")
		require.NoError(t, err)
		require.Empty(t, back.Notes, "a way back is compared with nothing")
		require.Empty(t, w.register(alerts.Rolling).Notes)
	})
}

func TestAClockThatIsALittleAheadIsForgiven(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r, _, err := w.engine.Register(t.Context(), Registration{Service: "api", Version: "1", Strategy: alerts.Canary, StartedAt: time.Now().Add(30 * time.Second)}, "")
		require.NoError(t, err)
		require.Equal(t, time.Now().UTC(), r.StartedAt)
	})
}
