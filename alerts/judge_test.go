package alerts

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// simulated is a scene without a window: what gates are judged on is made up.
func simulated(base Ratio) Scene {
	return Scene{
		Subject: Subject{
			Service: "api", Version: "2", Strategy: Rolling, StartedAt: started,
			Baseline: Baseline{Kind: BaselineBefore, ID: "b-test", Requests: base.N, Errors: base.Bad},
		},
		Interval: interval, Grace: time.Minute, Policy: Policy{MinRequests: 100},
	}
}

// traffic makes the ticks of a watch: a Poisson number of requests a tick, each
// failing with the share that fails says of its time.
func traffic(rng *rand.Rand, watch time.Duration, perSecond float64, fails func(time.Duration) float64) Counts {
	var c Counts
	for d := interval; d <= watch; d += interval {
		tally := Tally{Seen: true, Requests: poisson(rng, perSecond*interval.Seconds())}
		for range int(tally.Requests) {
			if rng.Float64() < fails(d) {
				tally.Errors++
			}
		}
		c.Ticks = append(c.Ticks, Tick{At: started.Add(d), Source: SourceUp, Subject: tally})
	}
	return c
}

func poisson(rng *rand.Rand, mean float64) float64 {
	n, p, floor := 0.0, rng.Float64(), math.Exp(-mean)
	for p > floor {
		n, p = n+1, p*rng.Float64()
	}
	return n
}

// firstFiring judges at every tick and returns when the gate fires first, -1 if
// it never does.
func firstFiring(gate Gate, counts Counts, scene Scene) time.Duration {
	gate = gate.tuned(Tuning{})
	for _, tick := range counts.Ticks {
		scene.Now = tick.At
		if gate.Assess(counts, scene).State == Firing {
			return tick.At.Sub(started)
		}
	}
	return -1
}

func always(share float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return share }
}

// during fails from ten minutes on for as long as said.
func during(length time.Duration, share, otherwise float64) func(time.Duration) float64 {
	return func(d time.Duration) float64 {
		if d > 10*time.Minute && d <= 10*time.Minute+length {
			return share
		}
		return otherwise
	}
}

// outcomes simulates watches and returns how many fired and the median time.
func outcomes(gate Gate, seeds int, watch time.Duration, perSecond float64, base Ratio, fails func(time.Duration) float64) (fired int, median time.Duration) {
	var times []time.Duration
	for seed := range seeds {
		counts := traffic(rand.New(rand.NewPCG(uint64(seed), 7)), watch, perSecond, fails)
		if at := firstFiring(gate, counts, simulated(base)); at >= 0 {
			times = append(times, at)
		}
	}
	if len(times) == 0 {
		return 0, 0
	}
	sortDurations(times)
	return len(times), times[len(times)/2]
}

func sortDurations(d []time.Duration) {
	for i := range d {
		for j := i; j > 0 && d[j] < d[j-1]; j-- {
			d[j], d[j-1] = d[j-1], d[j]
		}
	}
}

func TestHealthyServiceIsNeverRolledBackByLuck(t *testing.T) {
	const perSecond, share = 2.0, 0.005
	base := Ratio{N: perSecond * 3600, Bad: perSecond * 3600 * share}
	for _, gate := range []Gate{errorRatio, outage} {
		fired, _ := outcomes(gate, 200, 2*time.Hour, perSecond, base, always(share))
		require.Zero(t, fired, gate.Name)
	}
}

func TestFaultsAreFoundAsFastAsTheirTrafficAllows(t *testing.T) {
	for _, c := range []struct {
		gate      Gate
		perSecond float64
		share     float64
		within    time.Duration
	}{
		{errorRatio, 20, 0.02, 4*time.Minute + 45*time.Second},
		{errorRatio, 2, 0.02, 8*time.Minute + 30*time.Second},
		{errorRatio, 2, 0.05, 5 * time.Minute},
		{errorRatio, 0.5, 0.2, 5 * time.Minute},
		{outage, 20, 1, 2 * time.Minute},
		{outage, 0.5, 1, 2 * time.Minute},
	} {
		t.Run(fmt.Sprintf("%s %g/s %g", c.gate.Name, c.perSecond, c.share), func(t *testing.T) {
			base := Ratio{N: c.perSecond * 3600, Bad: math.Round(c.perSecond * 3600 * 0.002)}
			fired, median := outcomes(c.gate, 100, time.Hour, c.perSecond, base, always(c.share))
			require.Equal(t, 100, fired)
			require.LessOrEqual(t, median, c.within)
		})
	}
}

func TestBlipsRollNothingBack(t *testing.T) {
	for _, perSecond := range []float64{2, 20} {
		base := Ratio{N: perSecond * 3600, Bad: perSecond * 3600 * 0.002}
		for _, c := range []struct {
			gate   Gate
			length time.Duration
			most   int // of 100
		}{
			{errorRatio, 15 * time.Second, 0}, {errorRatio, 30 * time.Second, 1}, {errorRatio, 90 * time.Second, 2},
			{outage, 15 * time.Second, 0}, {outage, 30 * time.Second, 0}, {outage, 75 * time.Second, 0},
		} {
			fired, _ := outcomes(c.gate, 100, 30*time.Minute, perSecond, base, during(c.length, 1, 0.002))
			require.LessOrEqual(t, fired, c.most, "%s, %s at %g/s", c.gate.Name, c.length, perSecond)
		}
	}
}

// steady are counts without chance: so many requests and errors a tick.
func steady(n int, requests float64, errors func(tick int) float64) Counts {
	var c Counts
	for i := range n {
		c.Ticks = append(c.Ticks, Tick{
			At: started.Add(time.Duration(i+1) * interval), Source: SourceUp,
			Subject: Tally{Seen: true, Requests: requests, Errors: errors(i)},
		})
	}
	return c
}

func TestAVersionThatFailsWhileItStartsIsNoOutage(t *testing.T) {
	counts := steady(20, 30, func(tick int) float64 { return map[bool]float64{true: 30}[tick < 6] }) // 90 seconds
	require.Equal(t, time.Duration(-1), firstFiring(outage, counts, simulated(Ratio{N: 7200, Bad: 10})))
	counts = steady(20, 30, func(int) float64 { return 30 })
	require.Equal(t, 2*time.Minute, firstFiring(outage, counts, simulated(Ratio{N: 7200, Bad: 10})), "a total outage is found in two minutes")
}

func TestSpansAndGuardAreWhatTheyAreSaidToBe(t *testing.T) {
	for _, c := range []struct {
		window, interval time.Duration
		spans            int
	}{
		{5 * time.Minute, 15 * time.Second, 5}, {2 * time.Minute, 15 * time.Second, 4}, {time.Minute, 15 * time.Second, 2},
		{5 * time.Minute, time.Minute, 2}, {30 * time.Second, 15 * time.Second, 1}, {20 * time.Second, time.Second, 5},
	} {
		require.Equal(t, c.spans, spansOf(c.window, c.interval), "%s at %s", c.window, c.interval)
	}
	require.InDelta(t, 0.04126, divergence(0.05, 0.01), 1e-4)
	require.Zero(t, divergence(0.01, 0.05), "below the baseline there is no evidence")
	require.False(t, math.IsNaN(divergence(1, 0.01)), "a total outage has evidence")
	require.Equal(t, 0.005, leastFavourable(Ratio{}, Ratio{}, 0.01), "without a baseline it is half the limit")
	require.Equal(t, 0.02, leastFavourable(Ratio{1000, 20}, Ratio{}, 0.01))
	require.Equal(t, 0.001, leastFavourable(Ratio{1000, 0}, Ratio{}, 0.01), "so few requests cannot show less")
	require.Equal(t, 0.3, leastFavourable(Ratio{1000, 20}, Ratio{100, 30}, 0.01), "what the control suffers is not the version's")
}

func TestTheLeastThatCouldBeFoundIsProvenAndNoLess(t *testing.T) {
	for _, n := range []float64{300, 1000, 1e5, 1e7} {
		const base, limit = 0.002, 0.01
		least := errorRatio.minDetectable(n, base, Ratio{1e9, 2e6})
		require.GreaterOrEqual(t, least*base, limit)
		require.GreaterOrEqual(t, n*divergence(least*base, base), guardNeeded-1e-6)
		if least*base > limit {
			require.Less(t, n*divergence(0.99*least*base, base), guardNeeded)
		}
	}
	require.Zero(t, errorRatio.minDetectable(1, 0.002, Ratio{1e9, 2e6}), "one request proves nothing")
}

// One slow request in each minute is over 1 % of 60, and next to nothing was slower
// before: that may be the luck of a service of which one in 200 is slow.
func TestAFewSlowRequestsAreNoP99(t *testing.T) {
	slow := func(each float64) Finding {
		scene := simulated(Ratio{N: 7200, Bad: 0})
		scene.Subject.Baseline = Baseline{Timed: 7200, Edges: []float64{1}, Buckets: []float64{7200}, P99: 0.2, Edge: 1}
		counts := Counts{Edges: []float64{1}}
		for at := interval; at <= 10*time.Minute; at += interval {
			tally := Tally{Seen: true, Requests: 15, Timed: 15, Slower: []float64{0}}
			if at%time.Minute == 0 {
				tally.Slower[0] = each
			}
			counts.Ticks = append(counts.Ticks, Tick{At: started.Add(at), Source: SourceUp, Subject: tally})
		}
		scene.Now = started.Add(10 * time.Minute)
		return latencyP99.Judge(counts, scene)
	}
	few := slow(1)
	require.Equal(t, Pending, few.State)
	require.Greater(t, few.Evidence.Guard, few.Evidence.Needed)
	require.Contains(t, few.Message, "so few that it may be luck (n=300)")
	require.Equal(t, Firing, slow(4).State)
	require.Greater(t, few.MinDetectable*few.Baseline.Value, 0.03, "what so few requests can prove of the limit")
}

// A canary of one percent has 60 requests in five minutes: the one of them that fails
// is 1.7 %, which a service of 0.2 % shows now and then.
func TestWhatLuckShowsIsNoCrossing(t *testing.T) {
	for _, c := range []struct {
		window, base Ratio
		state        State
	}{
		{Ratio{60, 1}, Ratio{36000, 72}, OK}, {Ratio{150, 2}, Ratio{36000, 72}, OK}, {Ratio{300, 4}, Ratio{36000, 72}, Pending},
		{Ratio{60, 2}, Ratio{36000, 72}, Pending}, {Ratio{5, 1}, Ratio{36000, 72}, Pending},
		{Ratio{6000, 120}, Ratio{36000, 720}, OK}, // at the limit of what is usual
		{Ratio{6000, 121}, Ratio{36000, 740}, Pending},
	} {
		scene := simulated(c.base)
		scene.Now = started.Add(10 * time.Minute)
		counts := Counts{Ticks: []Tick{{At: scene.Now, Source: SourceUp, Subject: Tally{Seen: true, Requests: c.window.N, Errors: c.window.Bad}}}}
		gate := errorRatio.tuned(Tuning{})
		if c.base.Bad == 720 {
			gate.Limit = 0.02
		}
		require.Equal(t, c.state, gate.Assess(counts, scene).State, "%v", c)
	}
}

// An hour of half a request a second showed two errors, where four are usual: five of
// 149 are beyond the luck of a service of 0.11 %, and not beyond that of the hour.
func TestTheBaselineMayHaveBeenLuckyAsWell(t *testing.T) {
	few, many := Ratio{1800, 2}, Ratio{180000, 200}
	window := Ratio{149, 5}
	require.Greater(t, guard(window, few.Value()), guardNeeded)
	require.False(t, errorRatio.proves(window, few.Value(), few))
	require.True(t, errorRatio.proves(window, many.Value(), many))
	require.True(t, errorRatio.proves(Ratio{149, 7}, few.Value(), few))
	require.True(t, errorRatio.proves(Ratio{149, 20}, 0.005, Ratio{}), "without a baseline there is none to be lucky")
}

// severity orders the states of a gate that sees traffic.
func severityOf(t *testing.T, s State) int {
	t.Helper()
	order := map[State]int{OK: 0, WarmingUp: 1, Pending: 2, Firing: 3}
	n, ok := order[s]
	require.True(t, ok, s)
	return n
}

func TestMoreErrorsNeverLookBetter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		requests := float64(1 + rng.IntN(200))
		counts := steady(8+rng.IntN(40), requests, func(int) float64 { return float64(rng.IntN(1 + rng.IntN(int(requests)+1))) })
		scene := simulated(Ratio{N: float64(rng.IntN(5000)), Bad: float64(rng.IntN(20))})
		scene.Now = counts.Ticks[len(counts.Ticks)-1].At
		gate := []Gate{errorRatio, outage}[rng.IntN(2)].tuned(Tuning{})
		before := gate.Assess(counts, scene)
		tick := &counts.Ticks[rng.IntN(len(counts.Ticks))].Subject
		tick.Errors += rng.Float64() * (tick.Requests - tick.Errors)
		after := gate.Assess(counts, scene)
		require.GreaterOrEqual(t, severityOf(t, after.State), severityOf(t, before.State))
		require.GreaterOrEqual(t, after.Guard, before.Guard)
	}
}

func TestStateIsTheSameForAJudgeThatWasAway(t *testing.T) {
	counts := steady(40, 300, func(tick int) float64 { return map[bool]float64{true: 20}[tick >= 4] })
	scene := simulated(Ratio{N: 72000, Bad: 100})
	gate := errorRatio.tuned(Tuning{})
	scene.Now = started.Add(10 * time.Minute)
	f := gate.Judge(counts, scene)
	require.Equal(t, Firing, f.State)
	require.Equal(t, firstFiring(errorRatio, counts, scene), f.Since.Sub(started), "since tells when it fired first")
}

func TestMissingIsToldApart(t *testing.T) {
	gone := func(from int, source Source) Counts {
		c := steady(40, 100, func(int) float64 { return 0 })
		for i := from; i < len(c.Ticks); i++ {
			c.Ticks[i].Source, c.Ticks[i].Subject = source, Tally{}
		}
		return c
	}
	after := started.Add
	for name, c := range map[string]struct {
		counts Counts
		state  State
		since  time.Time
	}{
		"nothing ever":             {Counts{}, NoSeries, started},
		"scraped, but no requests": {gone(0, SourceUp), NoSeries, started},
		"never answered":           {gone(0, SourceRefused), SourceDown, after(15 * time.Second)},
		"refuses now":              {gone(20, SourceRefused), SourceDown, after(5*time.Minute + 15*time.Second)},
		"series gone":              {gone(20, SourceUp), NoSeries, after(5*time.Minute + 45*time.Second)},
		"nothing read any more":    {gone(20, SourceUnknown), Stale, after(5*time.Minute + 45*time.Second)},
		"idle":                     {steady(40, 0, func(int) float64 { return 0 }), NoTraffic, after(15 * time.Second)},
		"one scrape missed":        {gone(39, SourceUnknown), OK, after(15 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			scene := simulated(Ratio{N: 1000})
			scene.Now = started.Add(10 * time.Minute)
			f := errorRatio.tuned(Tuning{}).Judge(c.counts, scene)
			require.Equal(t, c.state, f.State, f.Message)
			require.Equal(t, c.since, f.Since)
			require.NotEmpty(t, f.Message)
		})
	}
}

func TestCoverageCountsWhatWasMissedAfterTheGrace(t *testing.T) {
	every := func(step time.Duration, from, to time.Duration) []time.Time {
		var all []time.Time
		for d := from; d <= to; d += step {
			all = append(all, started.Add(d))
		}
		return all
	}
	from, to := started.Add(time.Minute), started.Add(11*time.Minute)
	require.Equal(t, 1.0, coverage(every(interval, interval, 11*time.Minute), from, to, interval))
	require.Equal(t, 1.0, coverage(every(interval, 7*time.Second, 11*time.Minute), from, to, interval), "ticks need not begin with the rollout")
	require.InDelta(t, 0.5, coverage(every(2*interval, 2*interval, 11*time.Minute), from, to, interval), 0.02, "every second scrape missed")
	require.InDelta(t, 0.5, coverage(every(interval, interval, 6*time.Minute), from, to, interval), 0.03, "gone after half of the time")
	require.Zero(t, coverage(every(interval, interval, 50*time.Second), from, to, interval), "only seen in the grace")
	require.Equal(t, 1.0, coverage(every(interval, interval, 30*time.Second), from, started.Add(30*time.Second), interval), "nothing was due yet")
	require.Zero(t, coverage(nil, from, started.Add(30*time.Second), interval))
}

// chance writes counters of good and bad requests in promtool's notation.
func chance(seed uint64, ticks int, perTick, share float64) (good, bad string) {
	rng := rand.New(rand.NewPCG(seed, 3))
	var ok, failed float64
	good, bad = "0", "0"
	for range ticks {
		for range int(poisson(rng, perTick)) {
			if rng.Float64() < share {
				failed++
			} else {
				ok++
			}
		}
		good += fmt.Sprintf(" %g", ok)
		bad += fmt.Sprintf(" %g", failed)
	}
	return good, bad
}
