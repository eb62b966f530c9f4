package alerts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Pace is how the workers of a service went about their jobs before a rollout.
type Pace struct {
	Seconds     float64    `json:"seconds"` // that they were there, times how many jobs each takes at once where that is known
	Jobs        float64    `json:"jobs"`    // that they completed or failed
	Completions Dispersion `json:"completions"`
	Failures    Dispersion `json:"failures"`
}

// A Dispersion is the variance of the jobs in a tick over their mean, as measured
// where nothing was to be compared. It is 1 of jobs that come one by one, and more
// of such as come in batches.
type Dispersion struct {
	Value    float64 `json:"value"`              // at least 1; 0 where nothing is divided by it
	Of       string  `json:"of,omitempty"`       // dispersionOfReplicas, ...
	Compared int     `json:"compared,omitempty"` // so many shares of ticks
}

// What a Dispersion was measured between.
const (
	dispersionOfReplicas = "replicas" // the stable instances in the same tick
	dispersionOfTicks    = "ticks"    // all of them in two successive ticks
	dispersionAssumed    = "assumed"
)

const (
	paceFrom       = 2 * time.Hour // before the rollout, in which the pace is measured
	leastCompared  = 20            // shares that a Dispersion must rest on
	usualBatch     = 5.0           // the Dispersion of what was not measured: jobs come in batches
	longestSettled = 5 * time.Minute
)

// assumedPace is of workers of which nothing was measured.
var assumedPace = Pace{
	Completions: Dispersion{Value: usualBatch, Of: dispersionAssumed},
	Failures:    Dispersion{Value: usualBatch, Of: dispersionAssumed},
}

// String says where it is from, "" of none.
func (d Dispersion) String() string {
	switch d.Of {
	case dispersionOfReplicas:
		return fmt.Sprintf("dispersion %.3g of the jobs between stable instances in the two hours before (%d shares)", d.Value, d.Compared)
	case dispersionOfTicks:
		return fmt.Sprintf("dispersion %.3g of the jobs between successive ticks in the two hours before (%d shares): there were no two stable instances to compare", d.Value, d.Compared)
	case dispersionAssumed:
		return fmt.Sprintf("dispersion %.3g is assumed: too few jobs came before the rollout to measure it", d.Value)
	default:
		return ""
	}
}

// settles is how long a new worker may take for its first job: as long as the old
// ones had for one, each, which is no less than a job takes.
func (p Pace) settles() time.Duration {
	if p.Jobs == 0 {
		return 0
	}
	return min(longestSettled, time.Duration(p.Seconds/p.Jobs*float64(time.Second)))
}

// takePace measures the pace of the workers that serve before the rollout, nil where
// no workers are told.
func takePace(ctx context.Context, scene Scene, not []Span) (*Pace, error) {
	if !tellsWorkers(scene.Service) {
		return nil, nil //nolint:nilnil // no workers, no pace
	}
	var counts []Counts
	for _, span := range subtract(Span{From: scene.Subject.StartedAt.Add(-paceFrom), To: scene.Subject.StartedAt}, not) {
		r, err := readWork(ctx, scene, span)
		if err != nil {
			return nil, err
		}
		counts = append(counts, r.count(r.before(scene), span))
	}
	p := PaceOf(counts)
	return &p, nil
}

// PaceOf measures the pace of those who are the Subject of the counts, by instance
// where they are told apart.
func PaceOf(counts []Counts) Pace {
	var p Pace
	for _, c := range counts {
		for _, tick := range c.Ticks {
			work := tick.Subject.work()
			p.Seconds += work.Seconds
			p.Jobs += work.jobs()
		}
	}
	p.Completions = dispersionOf(counts, func(w Work) float64 { return w.Completed })
	p.Failures = dispersionOf(counts, func(w Work) float64 { return w.Failed })
	return p
}

// dispersionOf measures how unevenly events fall on those who are alike.
func dispersionOf(counts []Counts, events func(Work) float64) Dispersion {
	var replicas, ticks pearson
	for _, c := range counts {
		for q := range c.Queues {
			for i, tick := range c.Ticks {
				var pods []share
				for _, name := range slices.Sorted(maps.Keys(tick.Pods)) { // a baseline is hashed to the last bit
					pods = append(pods, shareOf(tick.Pods[name], q, events))
				}
				replicas.add(pods)
				if i > 0 {
					ticks.add([]share{shareOf(c.Ticks[i-1].Subject, q, events), shareOf(tick.Subject, q, events)})
				}
			}
		}
	}
	switch {
	case replicas.freedom >= leastCompared:
		return Dispersion{Value: replicas.value(), Of: dispersionOfReplicas, Compared: replicas.freedom}
	case ticks.freedom >= leastCompared:
		return Dispersion{Value: ticks.value(), Of: dispersionOfTicks, Compared: ticks.freedom}
	default:
		return Dispersion{Value: usualBatch, Of: dispersionAssumed}
	}
}

// A share is how many of some events fell on one of those who are alike.
type share struct{ events, exposure float64 }

func shareOf(t Tally, queue int, events func(Work) float64) share {
	w := t.at(queue)
	return share{events(w), w.Seconds}
}

// A pearson sums Pearson's chi-squared of shares over its degrees of freedom.
type pearson struct {
	chi2    float64
	freedom int
}

// add takes the shares that the events of one tick fell into, where there are two at
// least and there were events.
func (p *pearson) add(shares []share) {
	var all share
	n := 0
	for _, s := range shares {
		if s.exposure > 0 {
			all.events, all.exposure, n = all.events+s.events, all.exposure+s.exposure, n+1
		}
	}
	if n < 2 || all.events == 0 {
		return
	}
	for _, s := range shares {
		if s.exposure > 0 {
			expected := all.events * s.exposure / all.exposure
			p.chi2 += (s.events - expected) * (s.events - expected) / expected
		}
	}
	p.freedom += n - 1
}

// value is at least what events that come one by one have.
func (p *pearson) value() float64 { return max(1, p.chi2/float64(p.freedom)) }
