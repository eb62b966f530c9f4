package bullmq

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// maxNames is how many queues the health document names where it names some.
const maxNames = 5

// oldAfter is how long a line may wait before the health document names it.
const oldAfter = time.Minute

// findings names the queues that one would look at first, by the four questions
// that are asked of a queue: what waits too long, what is stuck, what has
// nobody to work on it, what fails.
func (r *reader) findings(details map[string]any, visits []*visit) {
	schedules := r.schedules.Load()
	name(details, "old", visits, func(v *visit) (float64, any) {
		if v.waited < oldAfter {
			return 0, nil
		}
		return v.waited.Seconds(), map[string]any{"queue": v.name, "seconds": math.Round(v.waited.Seconds())}
	})
	name(details, "stuck", visits, func(v *visit) (float64, any) {
		jobs, why := v.stuck(schedules)
		return jobs, map[string]any{"queue": v.name, "why": why}
	})
	name(details, "unserved", visits, func(v *visit) (float64, any) {
		if waits := v.line(); v.staffed && v.crew.workers == 0 && waits > 0 {
			return float64(waits), map[string]any{"queue": v.name, "waiting": waits}
		}
		return 0, nil
	})
	name(details, "failing", visits, func(v *visit) (float64, any) {
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

// name puts the queues with the most of something into the details.
func name(details map[string]any, question string, visits []*visit, ask func(*visit) (much float64, say any)) {
	type answer struct {
		much float64
		say  any
	}
	var answers []answer
	for _, v := range visits {
		if much, say := ask(v); much > 0 {
			answers = append(answers, answer{much, say})
		}
	}
	if len(answers) == 0 {
		return
	}
	slices.SortStableFunc(answers, func(a, b answer) int { return cmp.Compare(b.much, a.much) })
	named := make([]any, 0, maxNames)
	for _, a := range answers[:min(len(answers), maxNames)] {
		named = append(named, a.say)
	}
	details[question] = named
}
