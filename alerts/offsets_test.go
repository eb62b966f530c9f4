package alerts

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector"
)

// A scraped instance is read at an offset of its own, as Prometheus does.
type scraped struct {
	instance, track string
	offset, jitter  time.Duration
	requests        float64                // a tick
	errors          func(tick int) float64 // of which failed; ticks from the rollout on, before it below 0
	up              func(tick int) bool    // nil: always
}

func constant(n float64) func(int) float64 { return func(int) float64 { return n } }

// since the rollout began n requests a tick fail.
func sinceRollout(n float64) func(int) float64 {
	return func(tick int) float64 {
		if tick < 0 {
			return 0
		}
		return n
	}
}

// late is an offset of so many seconds.
func late(seconds int) time.Duration { return time.Duration(seconds) * time.Second }

// offsetTicks are as many as are scraped under the rollout.
const offsetTicks = 60

// scrapedScene is an hour before a canary's rollout and a quarter of one after it.
func scrapedScene(t *testing.T, instances ...scraped) Scene {
	t.Helper()
	scene := sceneOf(t, apiService(), 0, map[string]string{})
	scene.Service.Tracks = map[string]Labels{canaryTrack: {"track": canaryTrack}, stableTrack: {"track": stableTrack}}
	scene.Subject.Strategy = Canary
	window := collector.NewMemory()
	rng := rand.New(rand.NewPCG(5, 5))
	for _, in := range instances {
		good, bad := 0.0, 0.0
		for tick := -int(hour); tick < offsetTicks; tick++ {
			at := started.Add(time.Duration(tick)*interval + in.offset)
			if in.jitter > 0 {
				at = at.Add(time.Duration(rng.Int64N(int64(in.jitter))))
			}
			write := func(v float64, pairs ...string) {
				l := labels.NewBuilder(labels.FromStrings(append(pairs, "job", "api", "instance", in.instance)...))
				require.NoError(t, window.Append(at, l.Set("track", in.track).Labels(), v))
			}
			failed := in.errors(tick)
			good, bad = good+in.requests-failed, bad+failed
			if in.up != nil && !in.up(tick) {
				write(0, model.MetricNameLabel, scrapeUp)
				continue
			}
			write(1, model.MetricNameLabel, scrapeUp)
			write(good, model.MetricNameLabel, "http_request_duration_seconds_count", "status_code", "200")
			write(bad, model.MetricNameLabel, "http_request_duration_seconds_count", "status_code", "500")
		}
	}
	scene.Window = window
	return withBaseline(t, scene)
}

// judged is what error_ratio says so long after the rollout began.
func judged(t *testing.T, scene Scene, after time.Duration) Finding {
	t.Helper()
	return findings(t, at(scene, after))["error_ratio"]
}

func TestASharedIncidentIsSharedWhateverTheOffsetsOfTheScrapes(t *testing.T) {
	for _, offsets := range [][3]int{{0, 0, 0}, {0, 4, 11}, {4, 0, 11}, {11, 4, 0}, {14, 1, 7}} {
		for _, jitter := range []time.Duration{0, 600 * time.Millisecond} {
			scene := scrapedScene(t,
				scraped{instance: "a:1", track: canaryTrack, offset: late(offsets[0]), jitter: jitter, requests: 30, errors: sinceRollout(12)},
				scraped{instance: "b:1", track: stableTrack, offset: late(offsets[1]), jitter: jitter, requests: 300, errors: sinceRollout(120)},
				scraped{instance: "c:1", track: stableTrack, offset: late(offsets[2]), jitter: jitter, requests: 300, errors: sinceRollout(120)})
			for after := 2 * time.Minute; after < 10*time.Minute; after += 7 * time.Second {
				f := judged(t, scene, after)
				require.Equal(t, Pending, f.State, "%v after %s: %s", offsets, after, f.Message)
				require.InDelta(t, 0.4, f.Baseline.Value, 0.01)
			}
		}
	}
}

func TestOffsetsOfScrapesDelayNoStateByMoreThanAnInterval(t *testing.T) {
	states := func(offsets [3]int, into time.Duration) (all []State) {
		scene := scrapedScene(t,
			scraped{instance: "a:1", track: canaryTrack, offset: late(offsets[0]), requests: 60, errors: sinceRollout(5)},
			scraped{instance: "b:1", track: canaryTrack, offset: late(offsets[1]), requests: 60, errors: sinceRollout(1)},
			scraped{instance: "c:1", track: stableTrack, offset: late(offsets[2]), requests: 300, errors: constant(0)})
		for tick := 5; tick < 40; tick++ {
			f := judged(t, scene, time.Duration(tick)*interval+into)
			all = append(all, f.State)
			require.Equal(t, 1.0, f.Coverage, "%v: %s", offsets, scene.Now)
		}
		return all
	}
	want := states([3]int{}, 0)
	require.Contains(t, want, Pending)
	require.Contains(t, want, Firing)
	for _, offsets := range [][3]int{{0, 4, 11}, {11, 0, 4}, {4, 11, 0}, {14, 14, 0}, {0, 14, 7}} {
		require.Equal(t, want, states(offsets, 14*time.Second), "%v", offsets)
	}
}

func TestAScrapeAtTheEdgeOfASlotIsNeitherMissedNorTwice(t *testing.T) {
	// Due at the edge, it is some milliseconds early at one time and late at another.
	scene := scrapedScene(t,
		scraped{instance: "a:1", track: canaryTrack, offset: -300 * time.Millisecond, jitter: 600 * time.Millisecond, requests: 60, errors: constant(0)},
		scraped{instance: "b:1", track: stableTrack, offset: 4 * time.Second, requests: 300, errors: constant(0)})
	counts, err := gather(t.Context(), at(scene, 10*time.Minute), false)
	require.NoError(t, err)
	for _, tick := range counts.Ticks[1 : len(counts.Ticks)-1] {
		require.Equal(t, 60.0, tick.Subject.Requests, tick.At)
		require.Equal(t, 300.0, tick.Control.Requests, tick.At)
	}
	require.Equal(t, 1.0, judged(t, scene, 10*time.Minute).Coverage)
}

func TestASourceIsDownOnlyWhenEveryScrapeOfTheSlotFails(t *testing.T) {
	falls := func(tick int) bool { return tick < 20 }
	three := func(offsets [3]int, ups ...func(int) bool) Scene {
		var all []scraped
		for i, up := range ups {
			all = append(all, scraped{
				instance: fmt.Sprintf("%c:1", 'a'+i), track: canaryTrack, offset: late(offsets[i]), requests: 60, errors: constant(0), up: up,
			})
		}
		return scrapedScene(t, all...)
	}
	for _, offsets := range [][3]int{{0, 4, 11}, {11, 4, 0}, {4, 0, 11}} {
		one := three(offsets, nil, nil, falls)
		all := three(offsets, falls, falls, falls)
		for after := 6 * time.Minute; after < 9*time.Minute; after += time.Second {
			f := judged(t, one, after)
			require.Equal(t, OK, f.State, "%v, %s: %s", offsets, after, f.Message)
			require.Equal(t, 1.0, f.Coverage)
			require.Equal(t, SourceDown, judged(t, all, after).State, "%v, %s", offsets, after)
		}
	}
}

func TestAPodWhoseScrapesFailNowAndThenCostsNoCoverage(t *testing.T) {
	scene := scrapedScene(t,
		scraped{instance: "a:1", track: canaryTrack, requests: 60, errors: constant(0)},
		scraped{instance: "b:1", track: canaryTrack, offset: 14 * time.Second, requests: 60, errors: constant(0), up: func(tick int) bool { return tick%2 == 0 }})
	require.Equal(t, 1.0, judged(t, scene, 10*time.Minute).Coverage)
}

func TestAControlThatOnlyDrainsHidesNoFault(t *testing.T) {
	gate := errorRatio.tuned(Tuning{})
	scene := simulated(Ratio{N: 72000, Bad: 100})
	counts := steady(20, 100, func(int) float64 { return 20 })
	scene.Now = counts.Ticks[19].At
	control := func(requests, errors float64) Assessment {
		for i := range counts.Ticks {
			counts.Ticks[i].Control = Tally{Seen: true}
		}
		counts.Ticks[3].Control.Requests, counts.Ticks[3].Control.Errors = requests, errors
		return gate.Assess(counts, scene)
	}
	require.Equal(t, Firing, control(3, 1).State, "one of three requests says nothing")
	require.Equal(t, Pending, control(300, 100).State, "enough requests")
	require.Equal(t, Pending, control(40, 14).State, "few, but provably ill")
}

func TestAFaultOfAllPodsIsNotOnePods(t *testing.T) {
	gate := errorRatio.tuned(Tuning{})
	scene := simulated(Ratio{N: 21600, Bad: 43})
	firings := 0
	for seed := range 60 {
		rng := rand.New(rand.NewPCG(uint64(seed), 9))
		counts := ofPods(rng, map[string]float64{"a:1": 0.02, "b:1": 0.02, "c:1": 0.02})
		for _, tick := range counts.Ticks {
			if scene.Now = tick.At; gate.Assess(counts, scene).State == Firing {
				firings++
				require.Empty(t, gate.worstPod(counts, scene), "seed %d at %s", seed, tick.At)
			}
		}
	}
	require.Greater(t, firings, 60)
	counts := ofPods(rand.New(rand.NewPCG(1, 9)), map[string]float64{"a:1": 0.001, "b:1": 0.3, "c:1": 0.001})
	scene.Now = counts.Ticks[len(counts.Ticks)-1].At
	require.Equal(t, Firing, gate.Assess(counts, scene).State)
	require.Equal(t, "b:1", gate.worstPod(counts, scene))
}

// ofPods are fifteen minutes at two requests a second and pod, of which a share fails.
func ofPods(rng *rand.Rand, shares map[string]float64) Counts {
	var all Counts
	for _, pod := range []string{"a:1", "b:1", "c:1"} {
		for i, tick := range traffic(rng, 15*time.Minute, 2, always(shares[pod])).Ticks {
			if len(all.Ticks) == i {
				all.Ticks = append(all.Ticks, Tick{At: tick.At, Source: SourceUp, Pods: map[string]Tally{}})
			}
			all.Ticks[i].Pods[pod] = tick.Subject
			all.Ticks[i].Subject = all.Ticks[i].Subject.add(tick.Subject, 1)
		}
	}
	return all
}
