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
