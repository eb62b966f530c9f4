package alerts

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts/sequential"
)

// What is kept between judgements is worth time only: at every tick of many
// watches, with blips, and with a late scrape that changes a tick that was judged
// already, the finding is the same to the last bit.
func TestAKeptFoldFindsWhatANewOneFinds(t *testing.T) {
	const watch = 12 * time.Minute
	service := apiService()
	service.Tracks = map[string]Labels{canaryTrack: {"track": "canary"}, stableTrack: {"track": "stable"}}
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 3))
		begins := time.Duration(random.IntN(8)) * time.Minute
		counts := sideBySide{20, 180, func(at time.Duration) (float64, float64) {
			switch {
			case at > begins && at <= begins+45*time.Second:
				return 0.3, 0.002
			case seed%2 == 0 && at > begins+2*time.Minute:
				return 0.02, 0.002
			}
			return 0.002, 0.002
		}}.watched(random, watch)
		kept := &Kept{}
		for at := interval; at <= watch; at += interval {
			if at == 8*time.Minute {
				counts.Ticks[25].Subject.Errors += 3
			}
			until := counts
			until.Ticks = counts.between(time.Unix(0, 0), time.Unix(0, 0).Add(at))
			scene := Scene{
				Service: service, Subject: Subject{Service: "api", Version: "2", Strategy: Canary, StartedAt: time.Unix(0, 0)},
				Now: time.Unix(0, 0).Add(at), Interval: interval, Grace: time.Minute, Policy: Policy{MinRequests: 100},
			}
			for _, gate := range []Gate{canaryErrors, canaryLatency} {
				scene.Kept = nil
				anew := gate.compare(until, scene)
				scene.Kept = kept
				if at%time.Minute == 0 { // also when some ticks were taken beforehand, as a simulation does
					kept.Take(gate, until, until.Ticks[len(until.Ticks)-1], scene)
				}
				require.Equal(t, anew, gate.compare(until, scene), "seed %d, %s at %s", seed, gate.Name, at)
				require.Equal(t, anew.State == Firing, kept.Proven(gate), "seed %d, %s at %s", seed, gate.Name, at)
			}
		}
	}
}

// At each tick all pairs are made anew, of which a kept fold lacks the last. Were the
// others to stay in memory for its sake, a canary of two hours would take hundreds of MB.
func TestAKeptFoldKeepsNoPairThatItKnew(t *testing.T) {
	service := apiService()
	service.Tracks = map[string]Labels{canaryTrack: {"track": "canary"}, stableTrack: {"track": "stable"}}
	counts := sideBySide{20, 180, func(time.Duration) (float64, float64) { return 0.002, 0.002 }}.watched(rand.New(rand.NewPCG(1, 3)), 4*time.Minute)
	kept, comparison := &Kept{}, canaryErrors.Compare(counts)
	scene := Scene{
		Service: service, Subject: Subject{Service: "api", Version: "2", Strategy: Canary, StartedAt: time.Unix(0, 0)},
		Interval: interval, Grace: time.Minute,
	}
	var pairs [2]weak.Pointer[[]sequential.Tick]
	for i := range pairs {
		scene.Now = time.Unix(0, 0).Add(3*time.Minute + time.Duration(i)*interval)
		all := comparison.pairs(counts, scene)
		pairs[i] = weak.Make(&all[0].sides[0])
		kept.weigh(canaryErrors, comparison, all, scene)
	}
	runtime.GC()
	require.NotNil(t, pairs[0].Value(), "it keeps those that it was shown first")
	require.Nil(t, pairs[1].Value())
	runtime.KeepAlive(kept)
}

func TestABriefFindingDecidesTheSame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	counts := traffic(random, 20*time.Minute, 20, during(6*time.Minute, 0.05, 0.002))
	for _, tick := range counts.Ticks {
		scene := simulated(Ratio{N: 7200, Bad: 14})
		scene.Now = tick.At
		for _, gate := range []Gate{errorRatio, outage} {
			full := gate.Judge(counts, scene)
			scene.Brief = true
			brief := gate.Judge(counts, scene)
			if full.State != Firing {
				full.Since, full.Message, full.MinDetectable = brief.Since, brief.Message, brief.MinDetectable
			}
			require.Equal(t, full, brief)
			scene.Brief = false
		}
	}
}
