package bullmq

import (
	"fmt"
	"math"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// maxNames is how many queues the health document names where it names some.
const maxNames = 5

// seriesOfQueue is about how many series a queue has.
const seriesOfQueue = len(states) + 7

// reading puts together what was read.
func (r *reader) reading(visits []*visit, left map[*visit]int64, s server, surplus int, views redis.Views) probe.Reading {
	samples := make([]probe.Sample, 0, len(visits)*seriesOfQueue+2)
	details := map[string]any{"queues": len(visits)}
	samples = append(samples, queues.Sample(float64(len(visits))))
	if safe, ok := s.info.EvictionSafe(); ok {
		samples = append(samples, noEviction.Sample(number(safe)))
		if !safe {
			details["evictionPolicy"] = s.info["maxmemory_policy"] + ": Redis may drop jobs when memory runs out; BullMQ needs noeviction"
		}
	}
	for _, v := range visits {
		samples = v.samples(samples, views)
		if s.staffed {
			samples = append(samples, queueWorkers.Sample(float64(v.crew.workers), v.label...))
			for track := range r.tracks {
				samples = append(samples, trackWorkers.Sample(float64(v.crew.tracks[track]), v.name, track))
			}
		}
		if n, ok := left[v]; ok {
			samples = append(samples, abandoned.Sample(float64(n), v.label...))
		}
	}
	if surplus > 0 {
		details["queuesNotRead"] = surplus
	}
	r.worst(details, visits, left)
	return probe.Reading{Samples: samples, Views: views, Ill: r.ill(details, visits), Details: details}
}

// worst names the queues that one would look at first.
func (r *reader) worst(details map[string]any, visits []*visit, left map[*visit]int64) {
	var oldest time.Duration
	var leftBehind []string
	there := map[string]bool{}
	for _, v := range visits {
		there[v.name] = true
		if v.waited > oldest {
			oldest = v.waited
			details["oldestWaiting"] = map[string]any{"queue": v.name, "seconds": math.Round(oldest.Seconds())}
		}
		if left[v] > 0 && len(leftBehind) < maxNames {
			leftBehind = append(leftBehind, v.name)
		}
	}
	if len(leftBehind) > 0 {
		details["abandoned"] = leftBehind
	}
	if !r.known.fixed {
		return
	}
	var absent []string
	known, _, _ := r.known.snapshot()
	for _, q := range known {
		if !there[q.name] && len(absent) < maxNames {
			absent = append(absent, q.name)
		}
	}
	if len(absent) > 0 {
		details["absent"] = absent
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
