package simulate

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// What the workers of a service are like that tell their version: as many jobs come as
// requests, in batches.
const (
	jobsInBatch  = 2.0   // on average, geometric: the variance of the jobs in a tick is three times their mean
	failingJobs  = 0.005 // share of the jobs that fail
	allSlots     = 600.0 // jobs that all workers together take at once
	jobQueue     = "mail"
	jobsDone     = "jobs_completed_total"
	jobsFailed   = "jobs_failed_total"
	workersSlots = "worker_concurrency"
	manyBatches  = 60 // from which on their jobs are as good as normally distributed
)

// ended draws how many jobs came to an end, of so many on average.
func (w *world) ended(mean float64) float64 {
	p := poissonOf(mean / jobsInBatch)
	batches := p.draw(w.random)
	if batches > manyBatches {
		spread := math.Sqrt(batches * jobsInBatch * (jobsInBatch - 1))
		return max(batches, math.Round(batches*jobsInBatch+w.random.NormFloat64()*spread))
	}
	n := batches
	for range int(batches) {
		for w.random.Float64() > 1/jobsInBatch {
			n++
		}
	}
	return n
}

// labours draws what workers did in a tick: a share of all, so many times as fast as
// usual, of whose jobs so many more fail than usual.
func (w *world) labours(share, load, speed, poison float64) alerts.Work {
	mean, fails := w.rps*load*share*speed*interval.Seconds(), failingJobs+poison
	return alerts.Work{Completed: w.ended(mean * (1 - fails)), Failed: w.ended(mean * fails), Seconds: share * allSlots * interval.Seconds()}
}

// labour draws what the workers did in a tick, and lets its scrapes show it.
func (w *world) labour(m *moment, share float64) {
	probes := m.weather.probes
	show := func(carry *alerts.Work, did alerts.Work, seen bool) alerts.Work {
		did = alerts.Work{Completed: did.Completed + carry.Completed, Failed: did.Failed + carry.Failed, Seconds: did.Seconds + carry.Seconds}
		if *carry = did; !seen {
			return alerts.Work{}
		}
		*carry = alerts.Work{}
		return did
	}
	did := w.labours(share, m.weather.load, probes.speed, probes.poison)
	m.jobs, m.failures = did.Completed, did.Failed
	m.newWork = show(&w.newWorkCarry, did, m.new.Seen)
	if share < 1 {
		did = w.labours(1-share, m.weather.load, 1, 0)
		m.jobs, m.failures = m.jobs+did.Completed, m.failures+did.Failed
		m.oldWork = show(&w.oldWorkCarry, did, m.old.Seen)
	}
}

// pace is how the workers went about their jobs in the hour before the rollout.
func (w *world) pace() alerts.Pace {
	counts := alerts.Counts{Queues: []string{jobQueue}}
	for i, work := range w.workBefore {
		at := begun.Add(time.Duration(i+1-ticksBefore) * interval)
		counts.Ticks = append(counts.Ticks, alerts.Tick{At: at, Subject: worked(work, true)})
	}
	return alerts.PaceOf([]alerts.Counts{counts})
}

func worked(work alerts.Work, seen bool) alerts.Tally {
	if !seen {
		return alerts.Tally{}
	}
	return alerts.Tally{Seen: true, Work: []alerts.Work{work}}
}

// workByPod splits what the workers of the new version did in a tick over its instances.
func (w *world) workByPod(n int) map[string]alerts.Tally {
	m := &w.ticks[n-1]
	if !m.new.Seen {
		return nil
	}
	pods, rest, count := map[string]alerts.Tally{}, m.newWork, w.pods(m.at)
	random := rand.New(rand.NewPCG(uint64(w.run), uint64(n)))
	for i := range count {
		share := 1 / float64(count-i)
		part := alerts.Work{Completed: binomial(random, rest.Completed, share), Failed: binomial(random, rest.Failed, share), Seconds: rest.Seconds * share}
		pods[podName(i)] = worked(part, true)
		rest = alerts.Work{Completed: rest.Completed - part.Completed, Failed: rest.Failed - part.Failed, Seconds: rest.Seconds - part.Seconds}
	}
	return pods
}

// workers are the series in which the workers count their jobs, up to the promotion of
// a canary: after it there is nobody to compare them with.
func (w *world) workers() []line {
	var lines []line
	add := func(address string, isNew bool) {
		sums := []alerts.Work{{}} // of each tick, from the first of all on
		shows := []bool{!isNew}
		sum := func(tick int) (alerts.Work, bool) {
			for next := len(sums) - ticksBefore; next <= tick; next++ {
				did, seen := w.workOf(address, next)
				last := sums[len(sums)-1]
				sums = append(sums, alerts.Work{Completed: last.Completed + did.Completed, Failed: last.Failed + did.Failed, Seconds: did.Seconds})
				shows = append(shows, seen)
			}
			return sums[tick+ticksBefore], shows[tick+ticksBefore]
		}
		for metric, of := range map[string]func(alerts.Work, int) float64{
			jobsDone:     func(work alerts.Work, _ int) float64 { return work.Completed },
			jobsFailed:   func(work alerts.Work, _ int) float64 { return work.Failed },
			workersSlots: func(_ alerts.Work, tick int) float64 { return w.slots(isNew, tick) },
		} {
			lines = append(lines, line{labels: w.instance(metric, address, isNew, "queue", jobQueue), value: func(tick int) (float64, bool) {
				if tick > len(w.ticks) || w.all > 0 && time.Duration(tick)*interval > w.all {
					return 0, false
				}
				did, seen := sum(tick)
				return of(did, tick), seen
			}})
		}
	}
	add(oldAddress, false)
	for i := range w.pods(interval) {
		add(podName(i), true)
	}
	return lines
}

// slots are how many jobs an instance takes at once.
func (w *world) slots(isNew bool, tick int) float64 {
	t := time.Duration(tick) * interval
	switch {
	case isNew:
		return w.share(t) * allSlots / float64(w.pods(t))
	case tick <= 0:
		return allSlots
	default:
		return (1 - w.share(t)) * allSlots
	}
}

// workOf is what the workers of an instance did in a tick, and whether it was read.
func (w *world) workOf(address string, tick int) (alerts.Work, bool) {
	switch {
	case address != oldAddress && tick > 0:
		tally, seen := w.workByPod(tick)[address]
		if !seen {
			return alerts.Work{}, false
		}
		return tally.Work[0], true
	case address != oldAddress:
		return alerts.Work{}, tick == 0
	case tick > 0:
		return w.ticks[tick-1].oldWork, w.ticks[tick-1].old.Seen
	default:
		return w.workBefore[tick+ticksBefore-1], true
	}
}
