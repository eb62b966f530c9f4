package asynq

import (
	"fmt"
	"math"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// reading puts together what was read.
func reading(visits []*visit, s site, f fleet, p plan, views redis.Views, now time.Time) probe.Reading {
	details := map[string]any{}
	var samples []probe.Sample
	if s.listed {
		samples = append(samples, queues.Sample(float64(len(s.names))))
		details["queues"] = len(s.names)
	}
	surplus := len(s.names) - len(visits)
	if surplus > 0 {
		details["queuesNotRead"] = surplus
	}
	if safe, ok := s.info.EvictionSafe(); ok {
		samples = append(samples, noEviction.Sample(map[bool]float64{true: 1}[safe]))
		details["evictionPolicy"] = s.info["maxmemory_policy"]
	}
	if s.planned {
		samples = append(samples, schedulers.Sample(float64(len(s.schedulers))))
	}
	if p.known {
		samples = append(samples, schedulerEntries.Sample(float64(p.entries)), overdueEntries.Sample(float64(p.overdue)))
	}
	if f.known {
		samples = append(samples, servers.Sample(float64(f.servers)),
			workers.Sample(float64(f.workers)), workersBusy.Sample(float64(f.busy)))
		details["servers"] = f.servers
	}
	for _, v := range visits {
		v.take(views, now)
		samples = v.samples(samples, views)
		if f.known {
			samples = append(samples, queueServers.Sample(float64(f.by[v.name]), v.label...))
		}
	}
	findings(details, visits, f)
	return probe.Reading{Samples: samples, Views: views, Warning: s.info.EvictionWarning("Asynq", "tasks"), Dropped: surplus * seriesOfQueue, Details: details}
}

// seriesOfQueue is about how many series a queue has.
const seriesOfQueue = 2*(len(states)+1) + 10

// oldAfter is how long a line may wait before the health document names it.
const oldAfter = time.Minute

// findings names the queues that one would look at first, by the four questions
// that are asked of a queue: what waits too long, what is stuck, what has
// nobody to work on it, what fails.
func findings(details map[string]any, visits []*visit, f fleet) {
	ask := func(question string, much func(*visit) float64, say func(*visit) any) {
		if named := probe.Worst(visits, much, say); named != nil {
			details[question] = named
		}
	}
	ask("old", func(v *visit) float64 {
		if v.waited < oldAfter {
			return 0
		}
		return v.waited.Seconds()
	}, func(v *visit) any {
		return map[string]any{"queue": v.name, "seconds": math.Round(v.waited.Seconds())}
	})
	ask("stuck", func(v *visit) float64 {
		tasks, _ := v.stuck()
		return float64(tasks)
	}, func(v *visit) any {
		tasks, what := v.stuck()
		return map[string]any{"queue": v.name, "why": fmt.Sprintf("%d %s", tasks, what)}
	})
	ask("unserved", func(v *visit) float64 {
		if f.known && f.by[v.name] == 0 {
			return float64(v.lengths[pending].Val())
		}
		return 0
	}, func(v *visit) any { return map[string]any{"queue": v.name, "pending": v.lengths[pending].Val()} })
	ask("failing", func(v *visit) float64 { return float64(v.lengths[archived].Val()) },
		func(v *visit) any { return map[string]any{"queue": v.name, "archived": v.lengths[archived].Val()} })
}

// stuck is what does not move although it should, and how much of it.
func (v *visit) stuck() (tasks int64, what string) {
	late := v.late[0].Val() + v.late[1].Val()
	switch expired := v.expired.Val(); {
	case expired > 0:
		return expired, "active tasks whose server is gone"
	case late > 0:
		return late, "tasks are past their time"
	default:
		return 0, ""
	}
}
