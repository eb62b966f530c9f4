package alerts

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scrape is the `up` of an instance of the service api.
func scrape(instance, values string, labels ...string) map[string]string {
	name := `up{job="api",instance="` + instance + `"`
	for _, l := range labels {
		name += "," + l
	}
	return map[string]string{name + "}": values}
}

func tracked() *Service {
	service := apiService()
	service.Tracks = map[string]Labels{"canary": {"track": "canary"}, "stable": {"track": "stable"}}
	return service
}

// apiHealth is the one health address of the service api.
func apiHealth(values string) map[string]string {
	return map[string]string{`rollwatch_probe_up{job="rollwatch",kind="http",target="api"}`: values}
}

func TestACanaryThatIsNotDeployedSaysNothing(t *testing.T) {
	stable, idle := scrape("a:1", "1x60", `track="stable"`), scrape("b:1", "0x60", `track="canary"`)
	for _, strategy := range []Strategy{Rolling, BlueGreen} {
		scene := probeScene(t, tracked(), 10*time.Minute, series(stable, idle))
		scene.Subject.Strategy = strategy
		f := findings(t, scene)["target_down"]
		require.Equal(t, OK, f.State, f.Message)

		scene = probeScene(t, tracked(), 10*time.Minute, series(scrape("a:1", "1x20 0x40", `track="stable"`), idle))
		scene.Subject.Strategy = strategy
		f = findings(t, scene)["target_down"]
		require.Equal(t, Firing, f.State, "without the canary the rest is judged")
		require.Empty(t, f.Cause, "an idle canary is nothing to compare with")
	}
}

func TestACanaryIsScaledToNothingAfterItsPromotion(t *testing.T) {
	scene := probeScene(t, tracked(), 10*time.Minute, series(
		scrape("a:1", "1x60", `track="stable"`), scrape("b:1", "1x20 0x40", `track="canary"`),
		map[string]string{requests("200", `track="stable"`): "0+100x60"}))
	scene.Subject.Strategy = Canary
	require.Equal(t, Firing, findings(t, scene)["target_down"].State)
	scene.Subject.Promoted = true
	all := findings(t, scene)
	require.Equal(t, OK, all["target_down"].State, all["target_down"].Message)
	require.Equal(t, 2000.0, all["error_ratio"].N, "what stable serves is judged now")
}

func TestAHealthAddressThatStableAnswersDoesNotRollACanaryBack(t *testing.T) {
	service := tracked()
	service.Health.URL = "http://127.0.0.1:3000/health"
	for name, c := range map[string]struct {
		canary string
		cause  Cause
	}{"the canary answers": {"1x60", Pod}, "nor does the canary": {"1x30 0x30", ""}, "the canary missed once": {"1x40 0x20", Pod}} {
		t.Run(name, func(t *testing.T) {
			scene := probeScene(t, service, 10*time.Minute+15*time.Second, series(apiHealth("1x20 0x40"),
				scrape("a:1", "1x60", `track="stable"`), scrape("b:1", c.canary, `track="canary"`)))
			scene.Subject.Strategy = Canary
			f := findings(t, scene)["target_down"]
			require.Equal(t, Firing, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
		})
	}
}

func TestTheOldSideThatIsRetiredIsNotTheNewVersion(t *testing.T) {
	service := apiService()
	service.VersionLabel = "version"
	served := func(instance, version, values string) map[string]string {
		return map[string]string{`http_request_duration_seconds_count{job="api",status_code="200",instance="` + instance + `",version="` + version + `"}`: values}
	}
	retired := series(served("old:1", "1", "0+100x20"), scrape("old:1", "1x20 0x40"))
	for name, c := range map[string]struct {
		series map[string]string
		state  State
		cause  Cause
	}{
		"the new version serves":        {series(served("new:1", "2", "0+100x60"), scrape("new:1", "1x60")), OK, ""},
		"the new version is down":       {series(served("new:1", "2", "0+100x20"), scrape("new:1", "1x20 0x40")), Firing, ""},
		"nobody knows of a new version": {nil, Firing, Pod},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, probeScene(t, service, 10*time.Minute, series(retired, c.series)))["target_down"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
		})
	}
}

func TestAnAddressThatNeverAnsweredIsNotTheNewVersion(t *testing.T) {
	for name, c := range map[string]struct {
		series   map[string]string
		strategy Strategy
		cause    Cause
	}{
		"another answers":              {series(scrape("a:1", "1x300"), scrape("b:1", "0x300")), BlueGreen, Pod},
		"it answered before":           {series(scrape("a:1", "1x300"), scrape("b:1", "0x100 1x10 0x190")), BlueGreen, ""},
		"it is new":                    {series(scrape("a:1", "1x300"), scrape("b:1", absent(245)+"0x60")), BlueGreen, ""},
		"none answers":                 {series(scrape("a:1", "1x240 0x60"), scrape("b:1", "0x300")), BlueGreen, ""},
		"nothing else tells":           {scrape("b:1", "0x300"), Rolling, ""},
		"a canary is new where it is ": {series(scrape("a:1", "1x300"), scrape("b:1", "0x300")), Canary, ""},
	} {
		t.Run(name, func(t *testing.T) {
			scene := sceneOf(t, apiService(), 10*time.Minute, c.series)
			scene.Subject.Strategy = c.strategy
			f := findings(t, scene)["target_down"]
			require.Equal(t, Firing, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
		})
	}
}
