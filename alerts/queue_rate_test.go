package alerts

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts/sequential"
)

// A workshop is two arms of workers beside each other, a tick of 15 s at a time.
type workshop struct {
	canary, stable int     // workers
	perWorker      float64 // jobs a second that a worker of stable completes
	batch          float64 // jobs that come at once: the variance is so many times the mean
	load           func(at time.Duration) float64
	speed          func(at time.Duration) float64 // of the canary, times that of stable
	fails, failing float64                        // share of the jobs that fail, under stable and under the canary
}

// worked are the counts of so long a watch, by instance where they are asked for.
func (w workshop) worked(random *rand.Rand, length time.Duration, byPod bool) Counts {
	counts := Counts{Queues: []string{"mail"}, Pace: assumedPace}
	jobs := func(mean float64) float64 {
		batch := max(1, w.batch)
		return batch * draw(random, mean/batch)
	}
	arm := func(n int, perSecond, fails float64) (sum Tally, pods map[string]Tally) {
		sum, pods = Tally{Seen: true}, map[string]Tally{}
		for i := range n {
			done := Work{
				Completed: jobs(perSecond * (1 - fails) * interval.Seconds()), Failed: jobs(perSecond * fails * interval.Seconds()),
				Seconds: interval.Seconds(),
			}
			pods[strconv.Itoa(i)] = Tally{Seen: true, Work: []Work{done}}
			sum = sum.add(pods[strconv.Itoa(i)], 1)
		}
		return sum, pods
	}
	for at := interval; at <= length; at += interval {
		perSecond, speed := w.perWorker, 1.0
		if w.load != nil {
			perSecond *= w.load(at)
		}
		if w.speed != nil {
			speed = w.speed(at)
		}
		tick := Tick{At: time.Unix(0, 0).Add(at), Source: SourceUp}
		tick.Control, _ = arm(w.stable, perSecond, w.fails)
		subject, pods := arm(w.canary, perSecond*speed, w.failing)
		if tick.Subject = subject; byPod {
			tick.Pods = pods
		}
		counts.Ticks = append(counts.Ticks, tick)
	}
	return counts
}

// hours is the pace of stable in the two hours before.
func (w workshop) hours(random *rand.Rand) Pace {
	before := w
	before.canary, before.speed, before.failing = w.stable, nil, w.fails
	return PaceOf([]Counts{before.worked(random, paceFrom, true)})
}

// fired is when the gate fires first in a watch of that seed, 0 when it never does.
func (w workshop) fired(gate Gate, seed uint64, length time.Duration) time.Duration {
	random := rand.New(rand.NewPCG(seed, 11))
	pace := w.hours(random)
	counts := w.worked(random, length, false)
	counts.Pace = pace
	return firesAt(gate, counts, length)
}

func speedOf(v float64) func(time.Duration) float64 { return func(time.Duration) float64 { return v } }

func TestWorkersThatAreSlowerThanThoseBesideThemAreRolledBack(t *testing.T) {
	const watch = 15 * time.Minute
	tides := func(at time.Duration) float64 { // the queue runs empty every other minute
		if at/time.Minute%2 == 0 {
			return 0.02
		}
		return 2
	}
	late := func(at time.Duration) float64 {
		if at > 8*time.Minute {
			return 0.3
		}
		return 1
	}
	pause := func(at time.Duration) float64 {
		if at > 5*time.Minute && at <= 5*time.Minute+45*time.Second {
			return 0
		}
		return 1
	}
	for name, c := range map[string]struct {
		work  workshop
		fires time.Duration // at the latest; 0: never
	}{
		"half speed at ten jobs a second":                     {workshop{canary: 5, stable: 5, perWorker: 1, speed: speedOf(0.5)}, 10 * time.Minute},
		"half speed at ten jobs a second, one worker in five": {workshop{canary: 1, stable: 4, perWorker: 2, speed: speedOf(0.5)}, 14 * time.Minute},
		"half speed at fifty jobs a second":                   {workshop{canary: 5, stable: 5, perWorker: 5, speed: speedOf(0.5)}, 4 * time.Minute},
		"half speed of jobs that come five at once":           {workshop{canary: 10, stable: 10, perWorker: 1.5, batch: 5, speed: speedOf(0.5)}, 9 * time.Minute},
		"no job at all at one a second":                       {workshop{canary: 2, stable: 2, perWorker: 0.25, speed: speedOf(0)}, 5 * time.Minute},
		"a third of the speed, after eight minutes":           {workshop{canary: 5, stable: 5, perWorker: 2, speed: late}, 12 * time.Minute},
		"as fast as stable":                                   {workshop{canary: 5, stable: 5, perWorker: 1}, 0},
		"as fast, and few":                                    {workshop{canary: 1, stable: 19, perWorker: 1}, 0},
		"jobs that come five at once":                         {workshop{canary: 5, stable: 5, perWorker: 1, batch: 5}, 0},
		"four fifths of the speed, which is excused":          {workshop{canary: 5, stable: 5, perWorker: 1, speed: speedOf(0.8)}, 0},
		"a queue that is often empty":                         {workshop{canary: 3, stable: 6, perWorker: 1, load: tides}, 0},
		"three quarters of a minute without a job":            {workshop{canary: 5, stable: 5, perWorker: 1, speed: pause}, 0},
		"twice as fast":                                       {workshop{canary: 5, stable: 5, perWorker: 1, speed: speedOf(2)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			seeds, tardy := uint64(8), 0
			for seed := range seeds {
				fired := c.work.fired(queueRate, seed, watch)
				if c.fires == 0 {
					require.Zero(t, fired, "seed %d", seed)
				} else if fired == 0 || fired > c.fires {
					tardy++
				}
			}
			require.LessOrEqual(t, tardy, 1, "by chance one may be late")
		})
	}
}

func TestJobsThatFailMoreOftenThanBesideThemAreRolledBack(t *testing.T) {
	const watch = 15 * time.Minute
	for name, c := range map[string]struct {
		work  workshop
		fires time.Duration
	}{
		"ten times the failures":          {workshop{canary: 2, stable: 8, perWorker: 1, fails: 0.01, failing: 0.1}, 8 * time.Minute},
		"as many":                         {workshop{canary: 2, stable: 8, perWorker: 1, fails: 0.02, failing: 0.02}, 0},
		"as many, and they come in tens":  {workshop{canary: 5, stable: 5, perWorker: 4, fails: 0.05, failing: 0.05, batch: 10}, 0},
		"a third more, which is excused":  {workshop{canary: 2, stable: 8, perWorker: 1, fails: 0.03, failing: 0.04}, 0},
		"none, where stable has many":     {workshop{canary: 2, stable: 8, perWorker: 1, fails: 0.2}, 0},
		"every second job, of few in all": {workshop{canary: 2, stable: 2, perWorker: 0.1, fails: 0.01, failing: 0.5}, watch},
	} {
		t.Run(name, func(t *testing.T) {
			tardy := 0
			for seed := range uint64(8) {
				fired := c.work.fired(queueFailures, seed, watch)
				if c.fires == 0 {
					require.Zero(t, fired, "seed %d", seed)
				} else if fired == 0 || fired > c.fires {
					tardy++
				}
			}
			require.LessOrEqual(t, tardy, 1, "by chance one may be late")
		})
	}
}

func TestJobsThatComeInBatchesAreNoReasonToRollBack(t *testing.T) {
	const watches, watch = 60, 15 * time.Minute
	// Two thirds of the speed are just excused: there chance has the most to say.
	batches := workshop{canary: 1, stable: 9, perWorker: 1, batch: 8, speed: speedOf(1 / excusedRisk)}
	measured, plain := 0, 0
	for seed := range uint64(watches) {
		random := rand.New(rand.NewPCG(seed, 77))
		counts := batches.worked(random, watch, false)
		counts.Pace = batches.hours(random)
		require.InDelta(t, 8, counts.Pace.Completions.Value, 2)
		if firesAt(queueRate, counts, watch) > 0 {
			measured++
		}
		counts.Pace = Pace{}
		if firesAt(queueRate, counts, watch) > 0 {
			plain++
		}
	}
	require.Zero(t, measured)
	require.Positive(t, plain, "which a test of jobs one by one takes for a fault: without it this shows nothing")
}

func TestHowUnevenlyJobsComeIsMeasuredBeforeTheRollout(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	replicas := workshop{stable: 3, perWorker: 1, batch: 4}
	p := replicas.hours(random)
	require.Equal(t, dispersionOfReplicas, p.Completions.Of)
	require.Equal(t, 2*480, p.Completions.Compared)
	require.InDelta(t, 4, p.Completions.Value, 0.7)
	require.InDelta(t, 1, p.Seconds/p.Jobs, 0.1)

	one := workshop{stable: 1, perWorker: 1, batch: 4}.hours(random)
	require.Equal(t, dispersionOfTicks, one.Completions.Of, "one instance is compared with itself")
	require.InDelta(t, 4, one.Completions.Value, 0.7)
	require.Equal(t, Dispersion{Value: usualBatch, Of: dispersionAssumed}, one.Failures, "no job failed")

	even := workshop{stable: 3, perWorker: 1}.hours(random)
	require.GreaterOrEqual(t, even.Completions.Value, 1.0)
	require.Equal(t, 1.0, max(1, (&pearson{chi2: 5, freedom: 10}).value()), "never less than one by one")
	require.Equal(t, dispersionAssumed, PaceOf(nil).Completions.Of)
}

func TestAWorkerHasTimeForItsFirstJob(t *testing.T) {
	// Jobs take four minutes and workers are always busy: whoever begins now has
	// finished none for that long.
	long := workshop{canary: 80, stable: 80, perWorker: 1.0 / 240, speed: func(at time.Duration) float64 {
		if at < 4*time.Minute {
			return 0
		}
		return 1
	}}
	random := rand.New(rand.NewPCG(1, 1))
	counts := long.worked(random, 15*time.Minute, false)
	counts.Pace = Pace{Completions: Dispersion{Value: 1}}
	require.NotZero(t, firesAt(queueRate, counts, 15*time.Minute), "who is not known to need so long would be rolled back")
	counts.Pace = long.hours(random)
	require.InDelta(t, 240, counts.Pace.settles().Seconds(), 15)
	require.Zero(t, firesAt(queueRate, counts, 15*time.Minute))
	f := verdictAt(queueRate, counts, 4*time.Minute)
	require.Equal(t, Pending, f.State)
	require.Equal(t, "the workers of the new version have only begun", f.Message)
	require.Equal(t, WarmingUp, verdictAt(queueRate, counts, 45*time.Second).State)
	require.InDelta(t, 1, verdictAt(queueRate, counts, 15*time.Minute).Coverage, 0.01, "it was observed all the while")
	require.Equal(t, longestSettled, Pace{Seconds: 1e6, Jobs: 1}.settles(), "a queue with hardly a job is not waited for")
}

func TestWhatAComparisonOfWorkersSays(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 1))
	slow := workshop{canary: 5, stable: 5, perWorker: 1, speed: speedOf(0.5)}
	counts := slow.worked(random, 10*time.Minute, false)
	counts.Pace = slow.hours(random)
	f := verdictAt(queueRate, counts, 10*time.Minute)
	require.Equal(t, Firing, f.State)
	require.Equal(t, f, queueRate.Judge(counts, sceneAt(10*time.Minute)), "a simulation needs no window")
	require.Regexp(t, `^jobs completed 0\.\d+/s a worker against (0\.9\d*|1|1\.0\d*)/s a worker beside it \(n=\d+ and \d+\): less than 1/1\.5 of it, beyond chance also without the worst minute$`, f.Message)
	require.InDelta(t, 0.5, *f.Observed, 0.05)
	require.InDelta(t, f.Baseline.Value/1.5, *f.Limit, 1e-12)
	require.InDelta(t, 1500, f.N, 200, "jobs of the new version's workers")
	require.GreaterOrEqual(t, f.Evidence.Dispersion, 1.0)
	require.Contains(t, f.Evidence.Resolution, "between stable instances")
	require.GreaterOrEqual(t, f.MinDetectable, 1.75)

	idle := workshop{canary: 2, stable: 2, perWorker: 0}.worked(random, 10*time.Minute, false)
	for _, gate := range []Gate{queueRate, queueFailures} {
		f = verdictAt(gate, idle, 10*time.Minute)
		require.Equal(t, NoTraffic, f.State, "a queue without jobs says nothing")
		require.Equal(t, "no jobs to compare", f.Message)
	}
	none := workshop{stable: 2, perWorker: 1}.worked(random, 10*time.Minute, false)
	f = verdictAt(queueRate, none, 10*time.Minute)
	require.Equal(t, NoTraffic, f.State)
	require.Equal(t, "no worker of the new version was there to compare", f.Message)
	fine := workshop{canary: 2, stable: 2, perWorker: 1}.worked(random, 10*time.Minute, false)
	require.Equal(t, OK, verdictAt(queueFailures, fine, 10*time.Minute).State, "no job failed")
	require.Equal(t, fine.Ticks[39].Subject.work().Completed, fine.Ticks[39].Subject.work().jobs())

	few := workshop{canary: 1, stable: 1, perWorker: 0.01}.worked(random, 10*time.Minute, false)
	require.True(t, verdictAt(queueRate, few, 10*time.Minute).Thin)
}

func TestOnlyWhatIsWorseThanWhatIsExcusedIsEvidence(t *testing.T) {
	scene := Scene{Interval: interval}
	for _, c := range []struct {
		terms   Terms
		risk    float64
		effects []float64
	}{
		{ofCompletions, ofCompletions.R0, []float64{0.5, 0.25, 0.05}},
		{ofCompletions, 1, sequential.Slowness},
		{ofFailures, ofFailures.R0, []float64{2, 3, 5, 10, 30}},
		{ofRequests, 1, sequential.Harm},
	} {
		require.Equal(t, c.effects, Comparison{Terms: c.terms}.testOf(c.risk, scene).Effects)
	}
}

func TestQueuesAreComparedEachByItself(t *testing.T) {
	// The canary serves only the slow queue of two, as fast as stable does.
	var counts Counts
	counts.Queues, counts.Pace = []string{"images", "mail"}, Pace{Completions: Dispersion{Value: 1}}
	for at := interval; at <= 15*time.Minute; at += interval {
		counts.Ticks = append(counts.Ticks, Tick{
			At: time.Unix(0, 0).Add(at), Source: SourceUp,
			Subject: Tally{Seen: true, Work: []Work{{Completed: 3, Seconds: 30}, {}}},
			Control: Tally{Seen: true, Work: []Work{{Completed: 3, Seconds: 30}, {Completed: 300, Seconds: 30}}},
		})
	}
	f := verdictAt(queueRate, counts, 15*time.Minute)
	require.Equal(t, OK, f.State, f.Message)
	require.InDelta(t, 0.1, f.Baseline.Value, 1e-9, "what nobody compares is not shown either")
}
