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
	ask := func(question string, of func(*visit) (float64, any)) {
		if named := probe.Worst(visits, of); named != nil {
			details[question] = named
		}
	}
	schedules := r.schedules.Load()
	ask("old", func(v *visit) (float64, any) {
		if v.waited < oldAfter {
			return 0, nil
		}
		return v.waited.Seconds(), map[string]any{"queue": v.name, "seconds": math.Round(v.waited.Seconds())}
	})
	ask("stuck", func(v *visit) (float64, any) {
		jobs, why := v.stuck(schedules)
		return jobs, map[string]any{"queue": v.name, "why": why}
	})
	ask("unserved", func(v *visit) (float64, any) {
		if waits := v.line(); v.staffed && v.crew.workers == 0 && waits > 0 {
			return float64(waits), map[string]any{"queue": v.name, "waiting": waits}
		}
		return 0, nil
	})
	ask("failing", func(v *visit) (float64, any) {
		return float64(v.count[failed]), map[string]any{"queue": v.name, "failed": v.count[failed]}
	})
}

// line is how many jobs a worker could take.
func (v *visit) line() int64 {
	return v.count[waiting] + v.count[paused] + v.count[prioritized]
}

// stuck is what does not move although it should, and how much of it.
func (v *visit) stuck(s *schedules) (jobs float64, why string) {
	overdue := int64(0)
	if v.overdue != nil {
		overdue = v.overdue.Val()
	}
	late := int64(0)
	if s != nil {
		late = s.byQueue[v.name].overdue
	}
	switch {
	case v.left() > 0:
		return float64(v.left()), fmt.Sprintf("%d active jobs on which nobody works", v.left())
	case overdue > 0:
		return float64(overdue), fmt.Sprintf("%d delayed jobs are past their time", overdue)
	case late > 0:
		return float64(late), fmt.Sprintf("%d job schedulers are past their time", late)
	default:
		return 0, ""
	}
}
