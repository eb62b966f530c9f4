package alerts

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A sideBySide is what two arms are sent and do, a tick of 15 s at a time.
type sideBySide struct {
	canary, stable float64 // requests a second
	rate           func(at time.Duration) (canary, stable float64)
}

// draw is a count with that mean: of many it is as good as normal.
func draw(random *rand.Rand, mean float64) float64 {
	if mean > 200 {
		return max(0, math.Round(mean+math.Sqrt(mean)*random.NormFloat64()))
	}
	return poisson(random, mean)
}

// watched are the counts of a canary's watch up to a time. The edges of the
// latency are reached as often as requests fail.
func (tr sideBySide) watched(random *rand.Rand, length time.Duration) Counts {
	counts := Counts{Edges: []float64{0.1, 1}}
	tally := func(perSecond, rate float64) Tally {
		bad := draw(random, perSecond*interval.Seconds()*rate)
		n := bad + draw(random, perSecond*interval.Seconds()*(1-rate))
		return Tally{Seen: true, Requests: n, Errors: bad, Timed: n, Slower: []float64{bad, math.Floor(bad / 2)}}
	}
	for at := interval; at <= length; at += interval {
		canary, stable := tr.rate(at)
		counts.Ticks = append(counts.Ticks, Tick{
			At: time.Unix(0, 0).Add(at), Source: SourceUp, Subject: tally(tr.canary, canary), Control: tally(tr.stable, stable),
		})
	}
	return counts
}

// sceneAt is a canary's, at a time of its watch.
func sceneAt(at time.Duration) Scene {
	service := apiService()
	service.Tracks = map[string]Labels{canaryTrack: {"track": "canary"}, stableTrack: {"track": "stable"}}
	return Scene{
		Service: service, Subject: Subject{Service: "api", Version: "2", Strategy: Canary, StartedAt: time.Unix(0, 0)},
		Now: time.Unix(0, 0).Add(at), Interval: interval, Grace: time.Minute, Policy: Policy{MinRequests: 100},
	}
}

// verdictAt is what a gate says at a time of the watch.
func verdictAt(gate Gate, counts Counts, at time.Duration) Finding {
	until := counts
	until.Ticks = counts.between(time.Unix(0, 0), time.Unix(0, 0).Add(at))
	return gate.compare(until, sceneAt(at))
}

// firesAt is when the gate fires first, 0 when it never does.
func firesAt(gate Gate, counts Counts, length time.Duration) time.Duration {
	for at := interval; at <= length; at += interval {
		if verdictAt(gate, counts, at).State == Firing {
			return at
		}
	}
	return 0
}

func atRates(canary, stable float64) func(time.Duration) (float64, float64) {
	return func(time.Duration) (float64, float64) { return canary, stable }
}

func TestACanaryIsComparedWithStable(t *testing.T) {
	const watch = 16 * time.Minute // that of a canary, and the grace in which nothing is compared
	incident := func(at time.Duration) (float64, float64) {
		if at > 3*time.Minute && at < 9*time.Minute {
			return 0.2, 0.2
		}
		return 0.002, 0.002
	}
	blip := func(at time.Duration) (float64, float64) {
		if at > 5*time.Minute && at <= 5*time.Minute+45*time.Second {
			return 1, 0.002
		}
		return 0.002, 0.002
	}
	coldStart := func(at time.Duration) (float64, float64) {
		if at <= 75*time.Second {
			return 0.2, 0.002
		}
		return 0.002, 0.002
	}
	for name, c := range map[string]struct {
		traffic sideBySide
		fires   time.Duration // at the latest; 0: never
	}{
		"ten times the errors at 200 requests a second":    {sideBySide{20, 180, atRates(0.02, 0.002)}, 4 * time.Minute},
		"fifteen times the errors at 20 requests a second": {sideBySide{2, 18, atRates(0.03, 0.002)}, watch},
		"as good as stable":                          {sideBySide{20, 180, atRates(0.002, 0.002)}, 0},
		"a third more, which is excused":             {sideBySide{20, 180, atRates(0.0026, 0.002)}, 0},
		"an incident for both":                       {sideBySide{20, 180, incident}, 0},
		"three quarters of a minute of nothing else": {sideBySide{20, 180, blip}, 0},
		"a cold start of 75 seconds":                 {sideBySide{20, 180, coldStart}, 0},
		"better than stable":                         {sideBySide{20, 180, atRates(0.0001, 0.02)}, 0},
	} {
		for _, gate := range []Gate{canaryErrors, canaryLatency} {
			t.Run(name+", "+gate.Name, func(t *testing.T) {
				late := 0
				for seed := range uint64(5) {
					fired := firesAt(gate, c.traffic.watched(rand.New(rand.NewPCG(seed, 1)), watch), watch)
					if c.fires == 0 {
						require.Zero(t, fired, "seed %d", seed)
					} else if fired == 0 || fired > c.fires {
						late++
					}
				}
				require.LessOrEqual(t, late, 1, "by chance one may be late")
			})
		}
	}
}

func TestWhatAComparisonSays(t *testing.T) {
	counts := sideBySide{20, 180, atRates(0.02, 0.002)}.watched(rand.New(rand.NewPCG(1, 1)), 5*time.Minute)
	f := verdictAt(canaryErrors, counts, 5*time.Minute)
	require.Equal(t, Firing, f.State)
	require.Regexp(t, `^5xx \d\.\d+% against 0\.\d+% beside it \(n=\d+ and \d+\): over 1\.5 times as many, beyond chance also without the worst minute$`, f.Message)
	require.InDelta(t, 0.02, *f.Observed, 0.005)
	require.InDelta(t, 1.5*f.Baseline.Value, *f.Limit, 1e-12)
	require.Equal(t, "stable", f.Baseline.Kind)
	require.GreaterOrEqual(t, f.Evidence.LogE, f.Evidence.LeastLogE)
	require.GreaterOrEqual(t, f.Evidence.LeastLogE, f.Evidence.Needed)
	require.True(t, f.Required)
	require.InDelta(t, 1, f.Coverage, 0.1)

	early := verdictAt(canaryErrors, sideBySide{200, 1800, atRates(0.5, 0.002)}.watched(rand.New(rand.NewPCG(1, 1)), time.Minute), 45*time.Second)
	require.Equal(t, WarmingUp, early.State, "in the grace it cannot fire")

	worse := verdictAt(canaryErrors, sideBySide{20, 180, atRates(0.004, 0.002)}.watched(rand.New(rand.NewPCG(2, 1)), 15*time.Minute), 15*time.Minute)
	require.Equal(t, Pending, worse.State, "worse, and not by so much: %s", worse.Message)
	require.Contains(t, worse.Message, ": worse, but not yet beyond chance")

	sudden := verdictAt(canaryErrors, sideBySide{20, 180, atRates(0.3, 0.002)}.watched(rand.New(rand.NewPCG(1, 1)), 75*time.Second), 75*time.Second)
	require.Equal(t, Pending, sudden.State, sudden.Message)
	require.Contains(t, sudden.Message, ": worse beyond chance, but not yet without the worst minute")

	alone := counts
	alone.Ticks = nil
	for _, tick := range counts.Ticks {
		tick.Control = Tally{}
		alone.Ticks = append(alone.Ticks, tick)
	}
	f = verdictAt(canaryErrors, alone, 5*time.Minute)
	require.Equal(t, NoSeries, f.State)
	require.Contains(t, f.Message, "nothing to compare with")

	later := verdictAt(canaryErrors, counts, 5*time.Minute+2*time.Hour)
	require.Equal(t, Firing, later.State, "what was proven stays proven")
	f = verdictAt(canaryErrors, sideBySide{20, 180, atRates(0.002, 0.002)}.watched(rand.New(rand.NewPCG(1, 1)), 5*time.Minute), 10*time.Minute)
	require.Equal(t, Stale, f.State)
}

func TestHowSmallAnEffectCanBeProvenIsSaid(t *testing.T) {
	before := math.Inf(1)
	for _, perSecond := range []float64{2, 20, 200, 2000} {
		f := verdictAt(canaryErrors, sideBySide{perSecond, 9 * perSecond, atRates(0.002, 0.002)}.watched(rand.New(rand.NewPCG(7, 1)), 15*time.Minute), 15*time.Minute)
		require.Less(t, f.MinDetectable, before, fmt.Sprint(perSecond))
		before = f.MinDetectable
	}
	require.Less(t, before, 3.0)
}

// A full watch of a service with eleven edges is compared at every scrape.
func BenchmarkCompare(b *testing.B) {
	counts := sideBySide{20, 180, atRates(0.002, 0.002)}.watched(rand.New(rand.NewPCG(1, 1)), 2*time.Hour)
	counts.Edges = make([]float64, 11)
	for i := range counts.Ticks {
		for _, tally := range []*Tally{&counts.Ticks[i].Subject, &counts.Ticks[i].Control} {
			tally.Slower = make([]float64, 11)
			for j := range tally.Slower {
				tally.Slower[j] = math.Floor(tally.Requests / float64(j+2))
			}
		}
	}
	for b.Loop() {
		verdictAt(canaryLatency, counts, 2*time.Hour)
	}
}

// A slow instance that is not the busiest: nearly all requests of each are slower
// than the lowest edge.
func TestTheSlowInstanceIsBlamedNotTheBusiest(t *testing.T) {
	counts := Counts{Edges: []float64{0.005, 1}}
	tally := func(n, slow float64) Tally {
		return Tally{Seen: true, Requests: n, Timed: n, Slower: []float64{n, slow}}
	}
	for at := interval; at <= 10*time.Minute; at += interval {
		pods := map[string]Tally{"a:1": tally(120, 0), "b:1": tally(100, 10), "c:1": tally(110, 0)}
		counts.Ticks = append(counts.Ticks, Tick{
			At: time.Unix(0, 0).Add(at), Source: SourceUp, Subject: tally(330, 10), Control: tally(3000, 3), Pods: pods,
		})
	}
	scene := Scene{
		Service: apiService(), Subject: Subject{Service: "api", Strategy: Canary, StartedAt: time.Unix(0, 0)},
		Now: time.Unix(0, 0).Add(10 * time.Minute), Interval: interval, Grace: time.Minute,
	}
	found := canaryLatency.compare(counts, scene)
	require.Equal(t, Firing, found.State)
	require.Equal(t, "b:1", canaryLatency.worstOfPods(counts, found.WorstSide, scene))
}

// A canary is compared for half an hour at most. What could only begin later is not
// allowed for: that would cost minutes where there is little traffic.
func TestTheAlphaLastsAsLongAsACanaryIsCompared(t *testing.T) {
	scene := Scene{
		Service: apiService(), Subject: Subject{Strategy: Canary}, Interval: interval, Policy: Policy{Watch: 15 * time.Minute},
	}
	scene.Service.Tracks = map[string]Labels{canaryTrack: {"track": "canary"}, stableTrack: {"track": "stable"}}
	require.Equal(t, 120, canaryErrors.Compare(Counts{}).testOf(excusedRisk, scene).Horizon)
	scene.Policy.Watch = 0
	require.Equal(t, 480, canaryErrors.Compare(Counts{}).testOf(excusedRisk, scene).Horizon, "unknown")
	scene.Policy.Watch, scene.Subject.Strategy = 5*time.Minute, Rolling
	require.Equal(t, 480, canaryErrors.Compare(Counts{}).testOf(excusedRisk, scene).Horizon, "old instances may stay for as long as they like")
	scene.Policy.Watch, scene.Subject.Strategy = 3*time.Hour, Canary
	require.Equal(t, 480, canaryErrors.Compare(Counts{}).testOf(excusedRisk, scene).Horizon)
}

// Half a percent of the requests is slow that never were: no 99th percentile moves,
// and however sure it is, that is no reason to roll back.
func TestASlownessOfFewRequestsOnlyPends(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	tail := func(share float64) Finding {
		counts := sideBySide{20, 180, func(time.Duration) (float64, float64) { return share, 0.0002 }}.watched(random, 12*time.Minute)
		return verdictAt(canaryLatency, counts, 12*time.Minute)
	}
	few := tail(0.005)
	require.Equal(t, Pending, few.State, few.Message)
	require.Greater(t, few.Evidence.LeastLogE, few.Evidence.Needed, "it is proven")
	require.Contains(t, few.Message, "it is not proven that over 1% of them are")
	require.Equal(t, Firing, tail(0.02).State)

	lucky := Tick{At: time.Unix(0, 0).Add(3 * time.Minute), Subject: Tally{Seen: true}, Control: Tally{Seen: true}}
	counts := Counts{Edges: []float64{1}, Ticks: []Tick{lucky, lucky, lucky}}
	for i := range counts.Ticks { // nine of 600, while nobody else is slow
		tick := &counts.Ticks[i]
		tick.At = tick.At.Add(time.Duration(i) * time.Minute)
		tick.Subject.Timed, tick.Subject.Slower = 200, []float64{3}
		tick.Control.Timed, tick.Control.Slower = 1800, []float64{0}
	}
	f := verdictAt(canaryLatency, counts, 5*time.Minute+interval)
	require.Equal(t, Pending, f.State, "more than one in a hundred so far, but it may be half of that: %s", f.Message)
}

// A third slower, and many times as many of the few requests take over 250 ms. The
// 99th percentile is what the user calls slow: that moved by a third.
func TestASmallShiftOfTheLatencyOnlyPends(t *testing.T) {
	shifted := func(p99 float64) Finding {
		counts := sideBySide{20, 180, func(time.Duration) (float64, float64) { return 0.03, 0.003 }}.watched(rand.New(rand.NewPCG(6, 6)), 6*time.Minute)
		counts.Edges = []float64{0.25, 1}
		for i := range counts.Ticks { // no request takes over a second
			counts.Ticks[i].Subject.Slower[1], counts.Ticks[i].Control.Slower[1] = 0, 0
		}
		scene := sceneAt(6 * time.Minute)
		scene.Subject.Baseline.P99 = p99
		return canaryLatency.compare(counts, scene)
	}
	f := shifted(0.2)
	require.Equal(t, Pending, f.State, f.Message)
	require.Regexp(t, "^requests slower than 250ms 3.*: worse, but not yet beyond chance$", f.Message)
	require.Equal(t, Firing, shifted(0.15).State, "250 ms is over 1.5 times as much")
}

// Buckets that end below what counts as slow tell no more than their last edge does.
func TestTheLastEdgeOfCoarseBucketsMatters(t *testing.T) {
	scene := sceneAt(time.Minute)
	scene.Subject.Baseline.P99 = 0.2
	for _, c := range []struct {
		edges  []float64
		matter []bool
	}{
		{[]float64{0.05, 0.25, 0.5, 1}, []bool{false, false, true, true}},
		{[]float64{0.05, 0.25}, []bool{false, true}},
		{nil, []bool{}},
	} {
		require.Equal(t, c.matter, canaryLatency.Compare(Counts{Edges: c.edges}).matter(scene))
	}
	require.Equal(t, []bool{true}, canaryErrors.Compare(Counts{}).matter(scene))
}

// What is left when a minute is left out is judged as if it had not been: an effect
// that begins after it begins no later for it.
func TestAMinuteThatIsLeftOutTakesNoTime(t *testing.T) {
	scene := sceneAt(10 * time.Minute)
	ill := func(from, to time.Duration) func(time.Duration) (float64, float64) {
		return func(at time.Duration) (float64, float64) {
			if at > from && at <= to {
				return 0.05, 0
			}
			return 0, 0
		}
	}
	with := verdictAt(canaryErrors, sideBySide{20, 180, ill(time.Minute, 4*time.Minute)}.watched(rand.New(rand.NewPCG(1, 1)), 4*time.Minute), 4*time.Minute)
	require.Greater(t, with.Evidence.LeastLogE, 0.0)

	c := canaryErrors.Compare(Counts{})
	f := newFold(c, scene)
	var counts Counts
	for i := range 8 {
		counts.Ticks = append(counts.Ticks, Tick{
			At:      scene.warm().Add(time.Duration(i+1) * interval),
			Subject: Tally{Seen: true, Requests: 300, Errors: 5}, Control: Tally{Seen: true, Requests: 2700},
		})
	}
	pairs := c.pairs(counts, scene)
	rest := newFold(c, scene)
	require.InDelta(t, rest.weigh(pairs[:4]).logE, f.weigh(pairs).least, 1e-9, "four of eight like ticks are left")
}
