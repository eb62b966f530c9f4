package alerts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector/windowtest"
)

const interval = 15 * time.Second

// The windows of the stories begin at Unix time 0, and rollouts at this time.
var started = time.Unix(3600, 0)

// values writes a counter in promtool's notation: one rise a tick, by stretches
// of so many ticks each.
func values(stretches ...[2]float64) string {
	var b strings.Builder
	v := 0.0
	b.WriteString("0")
	for _, s := range stretches {
		for range int(s[1]) {
			v += s[0]
			fmt.Fprintf(&b, " %g", v)
		}
	}
	return b.String()
}

// absent writes scrapes without the series.
func absent(n int) string { return fmt.Sprintf("_x%d ", n) }

func apiService() *Service {
	return &Service{Name: "api", Metrics: Metrics{Preset: "prom-client"}}
}

func requests(status string, extra ...string) string {
	l := append([]string{`job="api"`, `instance="a:1"`, `status_code="` + status + `"`}, extra...)
	return "http_request_duration_seconds_count{" + strings.Join(l, ",") + "}"
}

// sceneOf puts series and a service on the stage, now after the rollout began,
// with the baseline that registration would have taken.
func sceneOf(t *testing.T, service *Service, after time.Duration, series map[string]string) Scene {
	t.Helper()
	scene := Scene{
		Window: windowtest.New(t, interval, series), Service: service,
		Subject:  Subject{Service: service.Name, Version: "2", Strategy: Rolling, StartedAt: started},
		Now:      started.Add(after),
		Interval: interval, Grace: time.Minute, Policy: Policy{MinRequests: 100},
	}
	return withBaseline(t, scene)
}

func withBaseline(t *testing.T, scene Scene, not ...Span) Scene {
	t.Helper()
	registered := scene
	registered.Now = scene.Subject.StartedAt
	baseline, err := TakeBaseline(t.Context(), Gates(Config{}, scene.Service), registered, not)
	require.NoError(t, err)
	scene.Subject.Baseline = baseline
	return scene
}

// findings evaluates every gate, by name.
func findings(t *testing.T, scene Scene) map[string]Finding {
	t.Helper()
	all, err := Evaluate(t.Context(), Gates(Config{}, scene.Service), scene)
	require.NoError(t, err)
	by := map[string]Finding{}
	for _, f := range all {
		require.NotEmpty(t, f.Message, f.Gate)
		by[f.Gate] = f
	}
	return by
}

func at(scene Scene, after time.Duration) Scene {
	scene.Now = scene.Subject.StartedAt.Add(after)
	return scene
}

func TestFivePercentOfErrorsFireWithAllThatExplainsThem(t *testing.T) {
	scene := sceneOf(t, apiService(), 5*time.Minute, map[string]string{
		requests("200"): values([2]float64{300, 400}),
		requests("500"): values([2]float64{0, 240}, [2]float64{16, 160}),
	})
	f := findings(t, scene)["error_ratio"]
	require.Equal(t, Firing, f.State)
	require.InDelta(t, 16.0/316, *f.Observed, 1e-9)
	require.Equal(t, 0.01, *f.Limit)
	require.Equal(t, "5m", f.Window)
	require.Equal(t, 20*316.0, f.N)
	require.Equal(t, BaselineBefore, f.Baseline.Kind)
	require.Equal(t, 72000.0, f.Baseline.N)
	require.Equal(t, 5, f.Evidence.SpansOver)
	require.Greater(t, f.Evidence.Guard, f.Evidence.Needed)
	require.Equal(t, started.Add(4*time.Minute+15*time.Second), f.Since)
	require.Equal(t, "5xx 5.06% > 1% for 5m (n=6320, baseline 0%)", f.Message)
	require.True(t, f.Required)

	require.Equal(t, WarmingUp, findings(t, at(scene, 45*time.Second))["error_ratio"].State)
	pending := findings(t, at(scene, 3*time.Minute))["error_ratio"]
	require.Equal(t, Pending, pending.State)
	require.Equal(t, 12*316.0, pending.N)
	require.Contains(t, pending.Message, "3 of 5 spans")
}
