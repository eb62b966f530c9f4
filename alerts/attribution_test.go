package alerts

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// With two requests a second one error is 3 % of a tick: that is no beginning of
// an incident which comes two minutes later, and whose dependency was well then.
func TestEvidenceBeginsWithTheIncidentNotWithAStrayError(t *testing.T) {
	var counts Counts
	for at := interval; at <= 12*time.Minute; at += interval {
		tally := Tally{Seen: true, Requests: 30}
		switch {
		case at == 4*time.Minute, at == 5*time.Minute+30*time.Second:
			tally.Errors = 1
		case at > 7*time.Minute:
			tally.Errors = 2
		}
		counts.Ticks = append(counts.Ticks, Tick{At: started.Add(at), Source: SourceUp, Subject: tally})
	}
	scene := simulated(Ratio{N: 7200, Bad: 14})
	scene.Now = started.Add(12 * time.Minute)
	for _, firing := range []time.Duration{9 * time.Minute, 12 * time.Minute} {
		require.Equal(t, started.Add(7*time.Minute+interval), errorRatio.evidenceBegan(started.Add(firing), counts, scene))
	}
	for i := range counts.Ticks { // with half a request a second
		tally := &counts.Ticks[i].Subject
		tally.Requests, tally.Errors = 8, min(tally.Errors, 1)
	}
	begins := errorRatio.evidenceBegan(started.Add(10*time.Minute), counts, scene)
	require.WithinRange(t, begins, started.Add(7*time.Minute+interval), started.Add(7*time.Minute+2*interval), "the first may be by luck as well")

	// One that goes just before the incident is not told from it by its number.
	counts.Ticks[26].Subject.Errors = 1 // at 6m45s
	begins = errorRatio.evidenceBegan(started.Add(10*time.Minute), counts, scene)
	require.Equal(t, started.Add(7*time.Minute+interval), begins)
}

// An instance that fails for hours is looked at again at each tick. Others that are
// above the baseline by luck at one of them, and clearly below the limit, do not turn
// the hold into a rollback; those that may be at the limit do.
func TestOthersClearlyBelowTheLimitAreNotConvictedByLuck(t *testing.T) {
	worst := func(requests, errors float64) string {
		var counts Counts
		for at := interval; at <= 10*time.Minute; at += interval {
			pods := map[string]Tally{"a": {Seen: true, Requests: requests, Errors: 0.2 * requests}}
			all := pods["a"]
			for _, name := range []string{"b", "c", "d", "e", "f"} {
				pods[name] = Tally{Seen: true, Requests: requests, Errors: errors * requests}
				all = all.add(pods[name], 1)
			}
			counts.Ticks = append(counts.Ticks, Tick{At: started.Add(at), Source: SourceUp, Subject: all, Pods: pods})
		}
		scene := simulated(Ratio{N: 72_000, Bad: 144})
		scene.Now = started.Add(10 * time.Minute)
		return errorRatio.worstPod(counts, scene)
	}
	require.Equal(t, "a", worst(50, 0.002), "as good as the baseline")
	require.Equal(t, "a", worst(50, 0.004), "twice the baseline of 5,000 requests")
	require.Empty(t, worst(15, 0.006), "of 1,500 requests the others may be at the limit as well")
	require.Empty(t, worst(50, 0.02), "the others are over the limit")
}

// Three stray errors before the database is away make the evidence begin before it, and
// alone they are none. What fails as often while it answers is the version's.
func TestWhatFailsWhileADependencyIsDownIsNotTheVersions(t *testing.T) {
	failing := func(tick int, stray, meanwhile float64) (counts Counts) {
		for i := range 20 {
			tally := Tally{Seen: true, Requests: 30, Errors: stray}
			if i >= tick {
				tally.Errors = meanwhile
			}
			counts.Ticks = append(counts.Ticks, Tick{At: started.Add(time.Duration(i+5) * interval), Source: SourceUp, Subject: tally})
		}
		return counts
	}
	for name, c := range map[string]struct {
		counts Counts
		down   string
	}{
		"while it is down":     {failing(8, 0.4, 3), "postgres:main"},
		"all the time":         {failing(8, 3, 3), ""},
		"while it answers too": {failing(2, 0, 3), ""},
	} {
		t.Run(name, func(t *testing.T) {
			scene := sceneOf(t, apiService(), 6*time.Minute, map[string]string{`rollwatch_probe_up{job="rollwatch",kind="postgres",target="main"}`: "1x252 0x20"})
			scene.Service.Databases = []string{"main"}
			scene.Subject.StartedAt, scene.Now = started, started.Add(6*time.Minute)
			scene.Subject.Baseline = Baseline{Requests: 7200, Errors: 14}
			down, err := errorRatio.downMeanwhile(t.Context(), c.counts, scene)
			require.NoError(t, err)
			require.Equal(t, c.down, down)
		})
	}
}
