package alerts

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// versioned is a service whose canary is told by its track, and whose series tell
// their version besides.
func versioned() *Service {
	service := tracked()
	service.VersionLabel = "version"
	return service
}

func TestTheVersionThatWasRegisteredIsNotTheOneThatIsThere(t *testing.T) {
	const canary, stable = `track="canary"`, `track="stable"`
	there := series(
		map[string]string{requests("200", stable, `version="1"`): "0+2700x80", requests("200", canary, `version="1"`): "0+150x80"},
		map[string]string{requests("500", canary, `version="1"`): "0+150x80"},
		scrape("s:1", "1x80", stable), scrape("a:1", "1x80", canary),
	)
	scene := probeScene(t, versioned(), 12*time.Minute, there)
	scene.Subject.Strategy = Canary
	found := findings(t, scene)
	for _, gate := range []string{"error_ratio", "canary_errors"} {
		f := found[gate]
		require.Equal(t, NoSeries, f.State, "%s: %s", gate, f.Message)
		require.True(t, f.Required, "it may not be promoted on what another version answers")
		require.Equal(t, `http_request_duration_seconds_count has no series with track="canary", version="2"; there is 1`, f.Message)
	}
	require.Equal(t, NoSeries, found["target_down"].State)
	require.Equal(t, "what answers where the canary is, is another version", found["target_down"].Message)

	scene.Subject.Version = "1"
	require.Equal(t, Firing, findings(t, scene)["canary_errors"].State, "the version that is there is judged by it")
}

func TestACanaryThatTellsNoVersionIsJudgedByItsTrack(t *testing.T) {
	const canary, stable = `track="canary"`, `track="stable"`
	scene := probeScene(t, versioned(), 12*time.Minute, series(
		map[string]string{requests("200", stable, `version="1"`): "0+2700x80", requests("200", canary): "0+150x80", requests("500", canary): "0+150x80"},
		scrape("s:1", "1x80", stable), scrape("a:1", "1x80", canary),
	))
	scene.Subject.Strategy = Canary
	require.Equal(t, Firing, findings(t, scene)["canary_errors"].State)
}

func TestManyVersionsWhereTheCanaryIsAreNotAllNamed(t *testing.T) {
	a := arms{subject: selection{with: Labels{"track": "canary"}, unlessOther: Labels{"version": "9"}}, seen: []string{"1", "2", "3", "4", "5", "6", "7"}}
	require.Equal(t, `track="canary", version="9"; there is 1, 2, 3, 4, 5 and 2 more`, a.sought())
}

func TestWhatNothingComparesIsSaidOfTheService(t *testing.T) {
	scraped := func(change func(*Service)) *Service {
		s := apiService()
		change(s)
		return s
	}
	for name, c := range map[string]struct {
		service *Service
		says    string
	}{
		"nothing tells":      {apiService(), "neither tracks nor version_label tells the two apart"},
		"health alone":       {healthOnly(), "no metrics of the service are configured"},
		"one track":          {scraped(func(s *Service) { s.Tracks = map[string]Labels{"canary": {"a": "b"}} }), "neither tracks nor version_label"},
		"a preset of none":   {scraped(func(s *Service) { s.Metrics.Preset, s.VersionLabel = NoPreset, "version" }), "no metrics of the service"},
		"tracks":             {tracked(), ""},
		"versions":           {scraped(func(s *Service) { s.VersionLabel = "version" }), ""},
		"workers of a track": {scraped(func(s *Service) { s.Completions, s.Tracks = "jobs_total", tracked().Tracks }), ""},
		"workers by name":    {&Service{Name: "mail", WorkerTracks: true}, ""},
	} {
		why := c.service.Incomparable()
		require.Equal(t, c.says == "", why == "", "%s: %s", name, why)
		require.Contains(t, why, c.says, name)
	}
}
