package alerts

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rolled are the counts of a rolling update under which something that both versions
// need fails five in a hundred requests from 3 to 9 minutes, and the new version as
// many more as it adds. The old pods are gone by and by, after 4m15s.
func rolled(perSecond, adds float64) Counts {
	random := rand.New(rand.NewPCG(2, 2))
	var counts Counts
	for at := interval; at <= 12*time.Minute; at += interval {
		incident := 0.002
		if at > 3*time.Minute && at <= 9*time.Minute && adds == 0 {
			incident = 0.05
		}
		tally := func(share, fails float64) Tally {
			bad := draw(random, perSecond*interval.Seconds()*share*fails)
			return Tally{Seen: true, Requests: bad + draw(random, perSecond*interval.Seconds()*share*(1-fails)), Errors: bad}
		}
		tick := Tick{At: started.Add(at), Source: SourceUp}
		share := min(1, float64(1+at/(50*time.Second))/6)
		fails := incident
		if at > 3*time.Minute {
			fails += adds
		}
		tick.Subject = tally(share, fails)
		if share < 1 {
			tick.Control = tally(1-share, incident)
		}
		counts.Ticks = append(counts.Ticks, tick)
	}
	return counts
}

// What both versions suffered when it began is nobody's rollout, also when by the
// time that it is proven the old pods are gone.
func TestWhatTheOldPodsSufferedAlikeIsNotTheVersions(t *testing.T) {
	scene := simulated(Ratio{N: 72000, Bad: 144})
	alike := func(counts Counts, firing time.Duration) bool {
		scene.Now = started.Add(firing)
		require.Equal(t, Firing, errorRatio.Assess(counts, scene).State, "at %s", firing)
		return errorRatio.suffersAlike(errorRatio.Count(errorRatio, counts, scene), scene.Now, counts, scene)
	}
	require.True(t, alike(rolled(20, 0), 9*time.Minute+30*time.Second), "the window has no old pods in it any more")
	require.False(t, alike(rolled(20, 0.05), 9*time.Minute), "the old pods were well")
	require.False(t, alike(rolled(20, 0.05), 12*time.Minute))
	require.False(t, alike(rolled(2, 0.05), 9*time.Minute), "so few requests to the old pods say little, and none of them failed")
}

// Beside a canary stable goes on: until the canary is worse beyond chance what is ill
// may be both. Once it is, the canary is to blame, however ill stable may be.
func TestWhatStableMaySufferAsWellHolds(t *testing.T) {
	scene := sceneAt(8 * time.Minute)
	scene.Subject.Baseline = Baseline{Requests: 4000, Errors: 8}
	ask := func(canary, stable float64, perTick float64) bool {
		var counts Counts
		for i := range 20 {
			counts.Ticks = append(counts.Ticks, Tick{
				At:      scene.Now.Add(-time.Duration(19-i) * interval),
				Subject: Tally{Seen: true, Requests: perTick, Errors: canary}, Control: Tally{Seen: true, Requests: perTick, Errors: stable},
			})
		}
		return errorRatio.suffersAlike(errorRatio.Count(errorRatio, counts, scene), scene.Now, counts, scene)
	}
	require.True(t, ask(0.35, 0.05, 4), "seven to one of 80 each")
	require.False(t, ask(1, 0, 4), "twenty to none")
	require.True(t, ask(5, 4, 100), "an incident of both")
	require.False(t, ask(15, 5, 100), "an incident of both, and a canary that is worse by far")
	for i, needed := range map[int]float64{1: guardNeeded, 100: 0} { // a canary of 50 %, and a stable that is sent next to nothing
		is := besides{n: 1000, controlN: 1000 / float64(i)}
		require.InDelta(t, needed, needsOf(is, besides{}, scene), 1e-9)
	}
}

// The old pods serve most while all is well, and few requests of what fails later for
// both: in sum that looks like a version that is eight times worse.
func TestWhatBothSufferIsComparedTickByTick(t *testing.T) {
	var b besides
	b.add(Ratio{100, 0}, Ratio{900, 1})
	b.add(Ratio{900, 45}, Ratio{100, 5})
	require.Less(t, b.evidence(), suspicion)
	b.add(Ratio{900, 45}, Ratio{900, 5})
	require.Greater(t, b.evidence(), limitNeeded)
}
