package simulate

import (
	"math"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// A minute has so many ticks.
const minuteTicks = int(time.Minute / interval)

// A reading is what a query finds of one arm in a range of time.
type reading struct {
	seen     float64 // scrapes
	requests float64
	errors   float64
	slower   [cells - 1]float64
}

// A history is what the other judges may query: sums up to each tick of the watch,
// of the new version and of the old one. The first is of nothing.
type history struct {
	watch    int // ticks
	new, old []reading
	world    *world
}

// past makes the history of the watch of a world.
func (h *history) past(w *world) {
	h.world, h.watch = w, int(w.rollout.Watch/interval)
	w.reach(h.watch)
	h.new, h.old = append(h.new[:0], reading{}), append(h.old[:0], reading{})
	for i := range h.watch {
		h.new = append(h.new, h.new[i].plus(w.ticks[i].new))
		h.old = append(h.old, h.old[i].plus(w.ticks[i].old))
	}
}

func (r reading) plus(t alerts.Tally) reading {
	if t.Seen {
		r.seen++
	}
	r.requests += t.Requests
	r.errors += t.Errors
	for i, n := range t.Slower {
		r.slower[i] += n
	}
	return r
}

// last is what an arm did in so many ticks up to one.
func last(arm []reading, tick, ticks int) reading {
	now, then := arm[tick], arm[max(0, tick-ticks)]
	now.seen -= then.seen
	now.requests -= then.requests
	now.errors -= then.errors
	for i := range now.slower {
		now.slower[i] -= then.slower[i]
	}
	return now
}

// empty says whether the query finds nothing at all: not even zero requests.
func (r reading) empty() bool { return r.seen == 0 }

// failing is the share of the requests that failed, NaN when there were none.
func (r reading) failing() float64 {
	if r.requests == 0 {
		return math.NaN()
	}
	return r.errors / r.requests
}

// p99 is what histogram_quantile(0.99, ...) says, in seconds; NaN when there were
// no requests.
func (r reading) p99() float64 {
	rank, below, low := 0.99*r.requests, 0.0, 0.0
	if r.requests == 0 {
		return math.NaN()
	}
	for i, edge := range edges {
		upTo := r.requests - r.slower[i]
		if upTo >= rank {
			if upTo == below {
				return low
			}
			return low + (edge-low)*(rank-below)/(upTo-below)
		}
		low, below = edge, upTo
	}
	return edges[len(edges)-1]
}
