package alerts

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// drawn is the value that the query of a finding has at scene.Now; of all lines there
// must be one.
func drawn(t *testing.T, f Finding, scene Scene) float64 {
	t.Helper()
	matrix, err := scene.Window.Query(t.Context(), f.Query, scene.Now, scene.Now, interval)
	require.NoError(t, err)
	require.Len(t, matrix, 1, f.Query)
	return matrix[0].Floats[0].F
}

func TestAPictureShowsWhatWasJudgedAndNoMore(t *testing.T) {
	const canary, stable = `track="canary"`, `track="stable"`
	failing := func(selected string, of, bad float64) map[string]string {
		return map[string]string{
			requests("200", selected): values([2]float64{of, hour}, [2]float64{of - bad, 60}),
			requests("500", selected): values([2]float64{0, hour}, [2]float64{bad, 60}),
		}
	}
	byVersion := apiService()
	byVersion.VersionLabel = "version"
	for name, c := range map[string]struct {
		service  *Service
		strategy Strategy
		series   map[string]string
		want     float64
		selects  string
	}{
		"the canary":                   {tracked(), Canary, series(failing(canary, 30, 12), failing(stable, 300, 0)), 0.4, `track="canary"`},
		"the new version":              {byVersion, Rolling, series(failing(`version="2"`, 30, 12), failing(`version="1"`, 300, 0)), 0.4, `version="2"`},
		"all but a canary that idles":  {tracked(), Rolling, series(failing(canary, 300, 300), failing(stable, 30, 12)), 0.4, `track!="canary"`},
		"all, where nothing tells":     {apiService(), Rolling, failing("", 30, 12), 0.4, `job="api"`},
		"a canary without any errors":  {tracked(), Canary, series(map[string]string{requests("200", canary): "0+30x400"}, failing(stable, 300, 30)), 0, `track="canary"`},
		"a version that was no canary": {byVersion, Canary, series(failing(`version="2"`, 30, 12), failing(`version="1"`, 300, 0)), 0.4, `version="2"`},
	} {
		t.Run(name, func(t *testing.T) {
			scene := sceneOf(t, c.service, 7*time.Minute, c.series)
			scene.Subject.Strategy = c.strategy
			for _, gate := range []string{"error_ratio", "outage"} {
				f := findings(t, scene)[gate]
				require.Contains(t, f.Query, c.selects)
				require.InDelta(t, c.want, *f.Observed, 1e-9)
				require.InDelta(t, c.want, drawn(t, f, scene), 1e-9, f.Query)
			}
		})
	}
}

func TestAPictureLeavesOutWhatTheCanaryServesOfAnotherVersion(t *testing.T) {
	const other = `track="canary",version="1.9"`
	service := tracked()
	service.VersionLabel = "version"
	for name, c := range map[string]struct {
		own, at string // the labels of what is judged
	}{
		"it says its version":          {`track="canary",version="2.0+b(1)"`, "a:2"},
		"it says none, and may be it":  {`track="canary"`, "a:2"},
		"on the instance of the other": {`track="canary",version="2.0+b(1)"`, "a:1"},
	} {
		t.Run(name, func(t *testing.T) {
			own := strings.NewReplacer(`"a:1"`, strconv.Quote(c.at))
			scene := sceneOf(t, service, 7*time.Minute, map[string]string{
				own.Replace(requests("200", c.own)): values([2]float64{30, hour}, [2]float64{18, 60}),
				own.Replace(requests("500", c.own)): values([2]float64{0, hour}, [2]float64{12, 60}),
				requests("200", other):              values([2]float64{30, hour + 60}),
				requests("500", other):              values([2]float64{0, hour}, [2]float64{300, 60}),
			})
			scene.Subject.Strategy, scene.Subject.Version = Canary, "2.0+b(1)"
			f := findings(t, scene)["error_ratio"]
			require.InDelta(t, 0.4, *f.Observed, 1e-9)
			require.InDelta(t, 0.4, drawn(t, f, scene), 1e-9, f.Query)
		})
	}
}

func TestAPictureOfSlowRequestsNeedsNothingThatTheWindowHasNot(t *testing.T) {
	before := stretch{int(hour), map[string]float64{"0.05": 900, "0.1": 1000, "0.25": 1000, "0.5": 1000, "+Inf": 1000}}
	slow := stretch{60, map[string]float64{"0.05": 500, "0.1": 700, "0.25": 900, "0.5": 960, "+Inf": 1000}}
	scene := sceneOf(t, apiService(), 6*time.Minute, bucketed(before, slow))
	f := findings(t, scene)["latency_p99"]
	require.InDelta(t, 0.04, drawn(t, f, scene), 1e-9, f.Query)
	require.Contains(t, f.Query, `le="0.5"`)
}

func TestWhatDoesNotCountIsDrawnByWhatItObserved(t *testing.T) {
	scene := sceneOf(t, tracked(), 6*time.Minute, map[string]string{
		requests("200", `track="canary"`):                             "0+30x400",
		`rollwatch_gate_observed{gate="canary_errors",service="api"}`: "_x240 0.04x60",
		`rollwatch_gate_observed{gate="target_down",service="api"}`:   "_x240 15+15x60",
	})
	scene.Subject.Strategy = Canary
	all := findings(t, scene)
	require.InDelta(t, 0.04, drawn(t, all["canary_errors"], scene), 1e-9)
	require.Greater(t, drawn(t, all["target_down"], scene), 60.0, "seconds, as its limit is")
}
