package bullmq

import (
	"fmt"
	"math"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// oldAfter is how long a line may wait before the health document names it.
const oldAfter = time.Minute

// findings names the queues that one would look at first, by the four questions
// that are asked of a queue: what waits too long, what is stuck, what has
// nobody to work on it, what fails.
func (r *reader) findings(details map[string]any, visits []*visit) {
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
		jobs, _ := v.stuck()
		return float64(jobs)
	}, func(v *visit) any {
		jobs, what := v.stuck()
		return map[string]any{"queue": v.name, "why": fmt.Sprintf("%d %s", jobs, what)}
	})
	ask("unserved", func(v *visit) float64 {
		if v.staffed && v.crew.workers == 0 {
			return float64(v.line())
		}
		return 0
	}, func(v *visit) any { return map[string]any{"queue": v.name, "waiting": v.line()} })
	ask("failing", func(v *visit) float64 { return float64(v.count[failed]) },
		func(v *visit) any { return map[string]any{"queue": v.name, "failed": v.count[failed]} })
}

// line is how many jobs a worker could take.
func (v *visit) line() int64 {
	return v.count[waiting] + v.count[paused] + v.count[prioritized]
}

// stuck is what does not move although it should, and how much of it.
func (v *visit) stuck() (jobs int64, what string) {
	late := int64(0)
	if s := v.schedule.Load(); s != nil {
		late = s.overdue
	}
	switch {
	case v.left() > 0:
		return v.left(), "active jobs on which nobody works"
	case v.overdue > 0:
		return v.overdue, "delayed jobs are past their time"
	case late > 0:
		return late, "job schedulers are past their time"
	default:
		return 0, ""
	}
}
