package alerts

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/feature"
)

// series merges groups of series.
func series(groups ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, g := range groups {
		maps.Copy(all, g)
	}
	return all
}

const hour = 240.0 // ticks of the hour before the rollout

func TestEveryErrorIsCaughtWhenAllItsSeriesAreNewborn(t *testing.T) {
	// The pods are new: their instances, their good series and their 5xx series
	// appear after the rollout, and each 5xx series has one value in all.
	all := map[string]string{
		requests("200"):                values([2]float64{300, hour}) + " stale",
		`up{job="api",instance="a:1"}`: "1x240",
	}
	begin := int(hour) + 2
	for _, pod := range []string{"b:1", "c:1", "d:1"} {
		counted := func(status string, route int) string {
			return fmt.Sprintf(`http_request_duration_seconds_count{job="api",instance=%q,status_code=%q,route="/%d"}`, pod, status, route)
		}
		all[`up{job="api",instance="`+pod+`"}`] = absent(begin) + "1x60"
		all[`process_start_time_seconds{job="api",instance="`+pod+`"}`] = absent(begin) + "3629x60"
		all[counted("200", 0)] = absent(begin) + values([2]float64{100, 40})
		for tick := range 30 { // a new 5xx series at each tick: another route each time
			all[counted("500", tick)] = absent(begin+tick+1) + "10x2"
		}
	}
	scene := sceneOf(t, apiService(), 6*time.Minute, all)
	f := findings(t, scene)["error_ratio"]
	require.Equal(t, Firing, f.State, f.Message)
	require.InDelta(t, 10.0/110, *f.Observed, 0.001, "every newborn error counts, once")
}

func TestNoTrafficNoScrapeAndNoSeriesAreSaid(t *testing.T) {
	for name, c := range map[string]struct {
		series map[string]string
		state  State
		says   string
	}{
		"idle": {
			map[string]string{requests("200"): "7x400", `up{job="api",instance="a:1"}`: "1x400"}, NoTraffic, "no requests in the last 5m",
		},
		"down": {
			map[string]string{requests("200"): values([2]float64{300, 250}), `up{job="api",instance="a:1"}`: "1x250 0x150"}, SourceDown, "every scrape of it fails since 01:02:45",
		},
		"nothing": {map[string]string{`up{job="api",instance="a:1"}`: "1x400"}, NoSeries, "no series counts requests since the rollout started"},
		"no status": {
			map[string]string{`http_request_duration_seconds_count{job="api",instance="a:1"}`: "0+5x400"}, NoSeries,
			"http_request_duration_seconds_count has none of the labels status_code, status, code, so that errors cannot be told",
		},
		"another version": {
			map[string]string{requests("200", `version="1"`): "0+300x400"}, NoSeries, `http_request_duration_seconds_count has no series with version="2"; there is 1`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			service := apiService()
			service.VersionLabel = "version"
			f := findings(t, sceneOf(t, service, 10*time.Minute, c.series))["error_ratio"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Equal(t, c.says, f.Message)
			require.True(t, f.Required)
		})
	}
}

func TestAnIncidentThatStableSharesIsNotTheCanarys(t *testing.T) {
	service := apiService()
	service.Tracks = map[string]Labels{"canary": {"track": "canary"}, "stable": {"track": "stable"}}
	shared := func(track, instance string, perTick, errors float64) map[string]string {
		series := func(status string) string {
			return `http_request_duration_seconds_count{job="api",instance="` + instance + `",track="` + track + `",status_code="` + status + `"}`
		}
		return map[string]string{
			series("200"): values([2]float64{perTick, hour}, [2]float64{perTick - errors, 60}),
			series("500"): values([2]float64{0, hour}, [2]float64{errors, 60}),
		}
	}
	scene := sceneOf(t, service, 6*time.Minute, series(shared("canary", "a:1", 30, 12), shared("stable", "b:1", 300, 120)))
	scene.Subject.Strategy = Canary
	scene = withBaseline(t, scene)
	require.Equal(t, BaselineStable, scene.Subject.Baseline.Kind)
	require.Equal(t, 72000.0, scene.Subject.Baseline.Requests, "the stable track alone")
	f := findings(t, scene)["error_ratio"]
	require.Equal(t, Pending, f.State, f.Message)
	require.Equal(t, 24*30.0*20/24, f.N)
	require.InDelta(t, 0.4, f.Baseline.Value, 1e-9, "what stable suffers now")
	require.Equal(t, map[string]string{"track": "canary"}, f.Scope)

	scene = sceneOf(t, service, 6*time.Minute, series(shared("canary", "a:1", 30, 12), shared("stable", "b:1", 300, 0)))
	scene.Subject.Strategy = Canary
	f = findings(t, withBaseline(t, scene))["error_ratio"]
	require.Equal(t, Firing, f.State, "the same errors, but the canary's alone")
	require.Equal(t, BaselineStable, f.Baseline.Kind)
}

func TestWhereAVersionIsToldOnlyTheNewOneIsJudged(t *testing.T) {
	service := apiService()
	service.VersionLabel = "version"
	scene := sceneOf(t, service, 6*time.Minute, map[string]string{
		requests("200", `version="1"`): values([2]float64{300, 300}),
		requests("500", `version="1"`): values([2]float64{0, hour}, [2]float64{60, 60}),
		requests("200", `version="2"`): absent(241) + values([2]float64{100, 60}),
		requests("500", `version="2"`): absent(250) + "0",
	})
	f := findings(t, scene)["error_ratio"]
	require.Equal(t, OK, f.State, "the errors are the old version's")
	require.Equal(t, map[string]string{"version": "2"}, f.Scope)
	require.Equal(t, 2000.0, f.N)
	require.Equal(t, BaselineStable, f.Baseline.Kind)
}

func TestDependencyOrPodIsToBlame(t *testing.T) {
	failing := func(instance string, errors float64) map[string]string {
		series := func(status string) string {
			return `http_request_duration_seconds_count{job="api",instance="` + instance + `",status_code="` + status + `"}`
		}
		return map[string]string{
			series("200"): values([2]float64{100, hour}, [2]float64{100 - errors, 60}),
			series("500"): values([2]float64{0, hour}, [2]float64{errors, 60}),
		}
	}
	service := apiService()
	service.Databases, service.Queues = []string{"main"}, []string{"jobs"}
	database := func(up int, value string) map[string]string {
		return map[string]string{
			`rollwatch_probe_up{job="rollwatch",kind="postgres",target="main"}`:  fmt.Sprintf("1x%d %sx60", up, value),
			`rollwatch_probe_up{job="rollwatch",kind="postgres",target="other"}`: "0x400",
		}
	}
	all := series(failing("a:1", 20), failing("b:1", 20), failing("c:1", 20))
	for name, c := range map[string]struct {
		series map[string]string
		cause  Cause
	}{
		"the version":    {series(all, database(240, "1")), ""},
		"the database":   {series(all, database(241, "0")), Dependency},
		"it, later":      {series(all, database(250, "0")), ""},
		"one pod":        {series(failing("a:1", 60), failing("b:1", 0), failing("c:1", 0)), Pod},
		"one of two":     {series(failing("a:1", 60), failing("b:1", 0)), ""},
		"two of three":   {series(failing("a:1", 60), failing("b:1", 60), failing("c:1", 0)), ""},
		"one idle other": {series(failing("a:1", 60), failing("b:1", 0), map[string]string{`http_request_duration_seconds_count{job="api",instance="c:1",status_code="200"}`: "5x400"}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, sceneOf(t, service, 5*time.Minute, c.series))["error_ratio"]
			require.Equal(t, Firing, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
			require.Contains(t, f.Query, "increase(http_request_duration_seconds_count{")
		})
	}
}

func TestBaselineIsTheSameHourWithoutWhatWasRolledBack(t *testing.T) {
	// 48 hours: quiet but for the same hour of the day before, and an hour of a
	// rollout that was rolled back.
	scene := sceneOf(t, apiService(), time.Minute, map[string]string{
		requests("200"): values([2]float64{10, 48 * hour}, [2]float64{10, 20}),
		requests("500"): values([2]float64{0, 47 * hour}, [2]float64{5, hour / 2}, [2]float64{1, hour/2 + 20}),
	})
	scene.Subject.StartedAt = time.Unix(48*3600, 0)
	rolledBack := Span{time.Unix(47*3600, 0), time.Unix(47*3600+1800, 0)}
	b := withBaseline(t, scene, rolledBack).Subject.Baseline
	require.Equal(t, BaselineBefore, b.Kind)
	require.Equal(t, []Span{
		{rolledBack.To, scene.Subject.StartedAt},
		{time.Unix(23*3600, 0), time.Unix(24*3600, 0)},
	}, b.Spans)
	require.Equal(t, 120.0, b.Errors, "of the half hour that was not rolled back")
	require.Equal(t, 10*360+120.0, b.Requests)
	again := withBaseline(t, scene, rolledBack).Subject.Baseline
	require.Equal(t, b.ID, again.ID, "the same content has the same id")
	require.NotEqual(t, b.ID, withBaseline(t, scene).Subject.Baseline.ID)
}

// bucketed is a histogram with so many requests a tick up to each edge, by
// stretches of so many ticks each.
func bucketed(stretches ...struct {
	ticks  int
	within map[string]float64
}) map[string]string {
	all := map[string]string{}
	for le := range stretches[0].within {
		var rises [][2]float64
		for _, s := range stretches {
			rises = append(rises, [2]float64{s.within[le], float64(s.ticks)})
		}
		all[`http_request_duration_seconds_bucket{job="api",instance="a:1",status_code="200",le="`+le+`"}`] = values(rises...)
		if le == "+Inf" {
			all[requests("200")] = values(rises...)
		}
	}
	return all
}

type stretch = struct {
	ticks  int
	within map[string]float64
}

func TestSlowRequestsFireByTheEdgeAboveThreeTimesTheBaseline(t *testing.T) {
	before := stretch{int(hour), map[string]float64{"0.05": 900, "0.1": 1000, "0.25": 1000, "0.5": 1000, "+Inf": 1000}}
	slow := stretch{60, map[string]float64{"0.05": 500, "0.1": 700, "0.25": 900, "0.5": 960, "+Inf": 1000}}
	scene := sceneOf(t, apiService(), 5*time.Minute, bucketed(before, slow))
	b := scene.Subject.Baseline
	require.InDelta(t, 0.095, b.P99, 1e-9, "interpolated as histogram_quantile does")
	require.Equal(t, 0.5, b.Edge, "the first edge above 0.285 s")
	require.Equal(t, "0.5", b.LE)
	require.Empty(t, b.Unresolved)
	f := findings(t, scene)["latency_p99"]
	require.Equal(t, Firing, f.State, f.Message)
	require.InDelta(t, 0.04, *f.Observed, 1e-9)
	require.Equal(t, "requests slower than 500ms 4% > 1% for 5m (n=20000, baseline 0%)", f.Message)
	require.InDelta(t, 1.0/240000, f.Baseline.Value, 1e-12)

	query, err := scene.Window.Query(t.Context(), `histogram_quantile(0.99, sum by (le) (increase(http_request_duration_seconds_bucket[1h])))`, started, started, interval)
	require.NoError(t, err)
	require.InDelta(t, b.P99, query[0].Floats[0].F, 1e-9)
}

func TestWhatTheBucketsCannotResolveIsSaid(t *testing.T) {
	flat := map[string]float64{"0.1": 0, "0.25": 1000, "1": 1000, "2.5": 1000, "+Inf": 1000}
	scene := sceneOf(t, apiService(), 5*time.Minute, bucketed(stretch{300, flat}))
	b := scene.Subject.Baseline
	require.InDelta(t, 0.2485, b.P99, 1e-9)
	require.Equal(t, 1.0, b.Edge)
	require.Equal(t, "1.0", b.LE)

	coarse := map[string]float64{"0.1": 1000, "1": 1000, "+Inf": 1000}
	f := findings(t, sceneOf(t, apiService(), 5*time.Minute, bucketed(stretch{300, coarse})))["latency_p99"]
	require.Equal(t, OK, f.State)
	require.Equal(t, "the first bucket edge above 3 x p99 (99ms) is 1s, 10.1 x p99: add an edge near 297ms", f.Evidence.Resolution)

	ends := map[string]float64{"0.1": 0, "0.25": 1000, "+Inf": 1000}
	f = findings(t, sceneOf(t, apiService(), 5*time.Minute, bucketed(stretch{300, ends})))["latency_p99"]
	require.Equal(t, NoSeries, f.State)
	require.Equal(t, "the buckets end at 250ms, below 3 x p99 (248.5ms) = 745.5ms: add an edge near it", f.Evidence.Resolution)
	require.False(t, f.Required, "what no bucket can tell keeps nobody from being promoted")
}

func TestFirstRolloutHasNothingToCompareWith(t *testing.T) {
	scene := sceneOf(t, apiService(), 6*time.Minute, map[string]string{
		requests("200"): absent(int(hour)) + values([2]float64{300, 60}),
		requests("500"): absent(int(hour)) + values([2]float64{16, 60}),
	})
	require.Equal(t, BaselineNone, scene.Subject.Baseline.Kind)
	by := findings(t, scene)
	require.Equal(t, NoSeries, by["latency_p99"].State)
	require.False(t, by["latency_p99"].Required)
	require.Equal(t, Firing, by["error_ratio"].State, "half the limit stands in for the baseline")
	require.Equal(t, 0.005, by["error_ratio"].Baseline.Value)
	require.Equal(t, "none", by["error_ratio"].Baseline.Kind)
}

func TestHealthAndMetricsRoutesAreNoTraffic(t *testing.T) {
	service := apiService()
	service.Features = []*feature.Config{{Name: "login", HTTP: &feature.Request{URL: "http://a:1/features/{{.tenant}}/login?x=1"}}}
	scene := sceneOf(t, service, 5*time.Minute, map[string]string{
		requests("200", `route="/orders"`):               "0+100x300",
		requests("503", `route="/health/ready"`):         "0+100x300",
		requests("500", `route="/metrics"`):              "0+100x300",
		requests("500", `path="/features/acme/login"`):   "0+100x300",
		requests("500", `route="/healthcare-providers"`): "0+0x300",
	})
	f := findings(t, scene)["error_ratio"]
	require.Equal(t, OK, f.State, f.Message)
	require.Equal(t, 2000.0, f.N)
}

func TestACoupleOfWatchesThroughTheWindow(t *testing.T) {
	// The same as through the counts, to see that nothing on the way adds to it.
	for seed := range 3 {
		good, bad := chance(uint64(seed), int(hour)+480, 30, 0.005)
		scene := sceneOf(t, apiService(), 0, map[string]string{requests("200"): good, requests("500"): bad})
		gates := Gates(Config{}, scene.Service)
		for d := interval; d <= 2*time.Hour; d += 8 * interval {
			all, err := Evaluate(t.Context(), gates, at(scene, d))
			require.NoError(t, err)
			for _, f := range all {
				require.NotEqual(t, Firing, f.State, "%s after %s: %s", f.Gate, d, f.Message)
			}
		}
	}
}
