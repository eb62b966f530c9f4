package alerts

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatCameBeforeTheRolloutIsNoEvidence(t *testing.T) {
	// The rollout begins between two scrapes, and the errors of that scrape began
	// before it.
	scene := sceneOf(t, apiService(), 0, map[string]string{
		requests("200"): values([2]float64{100, 300}),
		requests("500"): values([2]float64{0, hour}, [2]float64{90, 1}, [2]float64{0, 59}),
	})
	scene.Subject.StartedAt = started.Add(7 * time.Second)
	f := findings(t, at(scene, 2*time.Minute))["error_ratio"]
	require.Equal(t, OK, f.State, f.Message)
	require.Zero(t, *f.Observed)
}

func TestTheFirstScrapeOfAPodThatStartedSinceCountsWhole(t *testing.T) {
	const begin = int(hour) + 4
	pod := func(start string) map[string]string {
		counted := `http_request_duration_seconds_count{job="api",instance="b:1",status_code="%s"}`
		return map[string]string{
			fmt.Sprintf(counted, "200"):                            absent(begin) + "60x40",
			fmt.Sprintf(counted, "500"):                            absent(begin) + "40x40",
			`up{job="api",instance="b:1"}`:                         absent(begin) + "1x40",
			`process_start_time_seconds{job="api",instance="b:1"}`: absent(begin) + start + "x40",
		}
	}
	f := findings(t, sceneOf(t, apiService(), 3*time.Minute, pod("3650")))["error_ratio"]
	require.Equal(t, 100.0, f.N)
	require.InDelta(t, 0.4, *f.Observed, 1e-9)
	f = findings(t, sceneOf(t, apiService(), 3*time.Minute, pod("60")))["error_ratio"]
	require.Zero(t, f.N, "an old process that is only new to us brings its past with it")
}

func TestAControlIsComparedInTheSameTicksOnly(t *testing.T) {
	scene := simulated(Ratio{N: 10000, Bad: 10})
	counts := steady(20, 100, func(int) float64 { return 5 })
	for i := range counts.Ticks {
		counts.Ticks[i].Control = Tally{Seen: true, Requests: 100, Errors: 0.1}
	}
	counts.Ticks[18].Subject = Tally{}
	counts.Ticks[18].Control.Errors = 100 // while the subject was not read
	scene.Now = counts.Ticks[19].At
	a := errorRatio.tuned(Tuning{}).Assess(counts, scene)
	require.Equal(t, Firing, a.State)
	require.InDelta(t, 0.001, a.Base.Value, 1e-9)
}

func TestPodsWithOtherBucketsAreJudgedByTheEdgesTheyShare(t *testing.T) {
	all := map[string]string{requests("200"): "0+200x300"}
	pod := func(instance string, within map[string]string) {
		for le, rise := range within {
			all[fmt.Sprintf(`http_request_duration_seconds_bucket{job="api",instance=%q,le=%q}`, instance, le)] = "0+" + rise + "x300"
		}
	}
	pod("a:1", map[string]string{"0.1": "100", "0.3": "100", "0.5": "100", "+Inf": "100"})
	pod("b:1", map[string]string{"0.1": "100", "0.5": "100", "+Inf": "100"})
	scene := sceneOf(t, apiService(), 5*time.Minute, all)
	require.Equal(t, []float64{0.1, 0.5}, scene.Subject.Baseline.Edges)
	require.Equal(t, 0.5, scene.Subject.Baseline.Edge)
	f := findings(t, scene)["latency_p99"]
	require.Equal(t, OK, f.State, f.Message)
	require.Zero(t, *f.Observed, "a request is not slow because a pod has no edge that fine")
}

func TestMillisecondsAreReadAsSecondsAndNamedAsTheyAre(t *testing.T) {
	service := &Service{Name: "api", Metrics: Metrics{Preset: "istio"}}
	own := &Service{Name: "api", Metrics: Metrics{Requests: "hits", Errors: `hits{failed="1"}`, Latency: "took_milliseconds"}}
	all := map[string]string{
		`istio_requests_total{job="api",reporter="destination",response_code="200"}`: "0+1000x300",
		`istio_requests_total{job="api",reporter="source",response_code="500"}`:      "0+1000x300",
		`hits{job="api",failed="0"}`: "0+1000x300", `hits{job="api",failed="1"}`: "0+50x300",
		`hits{job="web",failed="1"}`: "0+5000x300",
	}
	for le, rise := range map[string]string{"100": "900", "250": "1000", "500": "1000", "1000": "1000", "+Inf": "1000"} {
		all[`istio_request_duration_milliseconds_bucket{job="api",reporter="destination",response_code="200",le="`+le+`"}`] = "0+" + rise + "x300"
		all[`took_milliseconds_bucket{job="api",le="`+le+`"}`] = "0+" + rise + "x300"
	}
	for _, s := range []*Service{service, own} {
		scene := sceneOf(t, s, 5*time.Minute, all)
		require.InDelta(t, 0.235, scene.Subject.Baseline.P99, 1e-9)
		require.Equal(t, 1.0, scene.Subject.Baseline.Edge)
		require.Equal(t, "1000.0", scene.Subject.Baseline.LE)
	}
	require.Equal(t, OK, findings(t, sceneOf(t, service, 5*time.Minute, all))["error_ratio"].State)
	f := findings(t, sceneOf(t, own, 5*time.Minute, all))["error_ratio"]
	require.InDelta(t, 50.0/1050, *f.Observed, 1e-9, "of its own job alone")
	require.Equal(t, 1050*20.0, f.N)
}

func TestAProcessReplacedInItsPlaceIsTheNewVersion(t *testing.T) {
	// The address stays, the version behind it changes; then it dies.
	service := apiService()
	service.VersionLabel = "version"
	f := findings(t, probeScene(t, service, 10*time.Minute, map[string]string{
		requests("200", `version="1"`): "0+100x2", requests("200", `version="2"`): absent(3) + "0+100x33",
		`up{job="api",instance="a:1"}`: "1x33 0x8",
	}))["target_down"]
	require.Equal(t, Firing, f.State, f.Message)

	f = findings(t, probeScene(t, service, 3*time.Minute, map[string]string{
		requests("200", `version="1"`): "0+100x10", requests("200", `version="2"`): "0+100x10",
		`up{job="api",instance="a:1"}`: "1x3 0x8",
	}))["target_down"]
	require.Equal(t, Firing, f.State, "an address that serves both is judged")
}

func TestAnOverrideLeavesOnlyWhatComesAfterItAsEvidence(t *testing.T) {
	scene := sceneOf(t, apiService(), 10*time.Minute, map[string]string{
		requests("200"): values([2]float64{300, 400}),
		requests("500"): values([2]float64{0, hour}, [2]float64{16, 40}, [2]float64{0, 100}),
	})
	require.Equal(t, Firing, findings(t, scene)["error_ratio"].State)
	scene.After = started.Add(9 * time.Minute)
	f := findings(t, scene)["error_ratio"]
	require.Equal(t, Pending, f.State)
	require.Equal(t, 4*316.0, f.N)
	require.Equal(t, 1.0, f.Coverage, "what was seen before stays seen")
}

func TestTooFewRequestsAreSaidToBeThin(t *testing.T) {
	scene := sceneOf(t, apiService(), 5*time.Minute, map[string]string{requests("200"): "0+4x300"})
	require.True(t, findings(t, scene)["error_ratio"].Thin, "80 requests of 100")
	require.False(t, findings(t, at(scene, 7*time.Minute))["error_ratio"].Thin)
}

func TestADependencyIsToBlameOnlyForWhatBeganWithIt(t *testing.T) {
	service := apiService()
	service.Databases = []string{"main"}
	const database = `rollwatch_probe_up{job="rollwatch",kind="postgres",target="main"}`
	errors := map[string]string{
		requests("200"): values([2]float64{300, hour + 40}, [2]float64{280, 60}),
		requests("500"): values([2]float64{0, hour + 40}, [2]float64{20, 60}),
	}
	for name, c := range map[string]struct {
		database string
		cause    Cause
	}{
		"down with it":                {"1x280 0x60", Dependency},
		"found down a reading later":  {"1x281 0x60", Dependency},
		"up again 30 s before it":     {"1x277 0 0 1x60", ""},
		"down five minutes before it": {"1x250 0x10 1x60", ""},
		"down two minutes after":      {"1x288 0x50", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, sceneOf(t, service, 16*time.Minute, series(errors, map[string]string{database: c.database})))["error_ratio"]
			require.Equal(t, Firing, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
		})
	}
}

func TestARolloutThatStartsInTheFutureHasNoEvidenceYet(t *testing.T) {
	scene := sceneOf(t, exampleServices()[0], -30*time.Second, map[string]string{requests("200"): "0+100x300", requests("500"): "0+100x300"})
	for _, f := range findings(t, scene) {
		require.Contains(t, []State{NoSeries, WarmingUp}, f.State, f.Gate)
		require.False(t, f.Seen, f.Gate)
	}
}

func TestSeriesWithoutInstanceOrUpAreEnough(t *testing.T) {
	// As rule tests have them; and the version before is the same.
	service := apiService()
	service.VersionLabel = "version"
	scene := sceneOf(t, service, 6*time.Minute, map[string]string{
		`http_request_duration_seconds_count{job="api",status_code="200",version="2"}`: "0+300x300",
		`http_request_duration_seconds_count{job="api",status_code="500",version="2"}`: "0x240 16+16x59",
	})
	require.Equal(t, BaselineBefore, scene.Subject.Baseline.Kind)
	by := findings(t, scene)
	require.Equal(t, Firing, by["error_ratio"].State, by["error_ratio"].Message)
	require.Equal(t, OK, by["outage"].State)
}
