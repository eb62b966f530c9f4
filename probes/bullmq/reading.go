package bullmq

import (
	"fmt"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// maxNames is how many queues that are absent the health document names.
const maxNames = 5

// seriesOfQueue is about how many series a queue has.
const seriesOfQueue = len(states) + 12

// seriesOfTimes is how many the two histograms of a queue have.
var seriesOfTimes = 2 * (len(timeBounds) + 3)

// reading puts together what was read.
func (r *reader) reading(visits []*visit, s server, surplus int, views redis.Views) probe.Reading {
	samples := r.desk.samples[:0]
	details := map[string]any{"queues": len(visits)}
	samples = append(samples, queues.Sample(float64(len(visits))))
	if safe, ok := s.info.EvictionSafe(); ok {
		samples = append(samples, noEviction.Sample(number(safe)))
		details["evictionPolicy"] = s.info["maxmemory_policy"]
	}
	timed := 0
	for _, v := range visits {
		samples = v.scheduleSamples(v.samples(samples))
		if v.staffed {
			samples = append(samples, queueWorkers.Sample(float64(v.crew.workers), v.label()...))
			for _, track := range r.trackNames() {
				samples = append(samples, trackWorkers.Sample(float64(r.on(track, v.crew)), v.name, track))
			}
		}
		if len(r.tracks) > 0 {
			samples = r.trackSamples(samples, v.queue)
		}
		if v.events.wait != nil || v.events.run != nil {
			if timed++; timed <= maxTimed {
				samples = v.timeSamples(samples)
			}
		}
	}
	clear(r.desk.samples[min(len(samples), len(r.desk.samples)):]) // of queues that are no more
	r.desk.samples = samples
	dropped := surplus*seriesOfQueue + max(0, timed-maxTimed)*seriesOfTimes
	if surplus > 0 {
		details["queuesNotRead"] = surplus
	}
	r.findings(details, visits)
	if r.known.fixed {
		r.absent(details, visits)
	}
	return probe.Reading{Samples: samples, Views: views, Warning: s.info.EvictionWarning("BullMQ", "jobs"), Dropped: dropped, Ill: r.ill(details, visits), Details: details}
}

// absent names the queues that the configuration names and that are not there.
func (r *reader) absent(details map[string]any, visits []*visit) {
	there := map[string]bool{}
	for _, v := range visits {
		there[v.name] = true
	}
	var names []string
	known, _, _ := r.known.snapshot()
	for _, q := range known {
		if !there[q.name] && len(names) < maxNames {
			names = append(names, q.name)
		}
	}
	if len(names) > 0 {
		details["absent"] = names
	}
}

// ill says that too many failed jobs are kept, and where most of them are.
func (r *reader) ill(details map[string]any, visits []*visit) string {
	var all, most int64
	var worst string
	for _, v := range visits {
		all += v.count[failed]
		if v.count[failed] > most {
			most, worst = v.count[failed], v.name
		}
	}
	details["failed"] = all
	if r.maxFailed == 0 || all < int64(r.maxFailed) {
		return ""
	}
	return fmt.Sprintf("%d failed jobs are kept, %d of them in queue %q; the limit is %d", all, most, worst, r.maxFailed)
}
