package alerts

import (
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/collector"
)

// processStart tells when a process began to count.
const processStart = "process_start_time_seconds"

// births tell a series that is born from one that is only new to us.
type births struct {
	interval time.Duration
	scraped  map[string][]int64           // by instance, when anything was read of it
	started  map[string][]collector.Point // by instance, when its process started
}

func newBirths(interval time.Duration, starts []collector.Series, series ...[]collector.Series) births {
	b := births{interval: interval, scraped: map[string][]int64{}, started: map[string][]collector.Point{}}
	for _, group := range append(series, starts) {
		for _, s := range group {
			instance := s.Labels.Get(model.InstanceLabel)
			b.scraped[instance] = merge(b.scraped[instance], s.Points)
		}
	}
	for _, s := range starts {
		b.started[s.Labels.Get(model.InstanceLabel)] = s.Points
	}
	return b
}

// deltas are the raw differences of a counter.
func (b births) deltas(s collector.Series) []collector.Delta {
	var all []collector.Delta
	if begin, born := b.birth(s); born {
		all = append(all, collector.Delta{Begin: begin, At: time.UnixMilli(s.Points[0].T), N: s.Points[0].V})
	}
	for i := 1; i < len(s.Points); i++ {
		before, p := s.Points[i-1], s.Points[i]
		n := p.V - before.V
		if n < 0 {
			n = p.V
		}
		all = append(all, collector.Delta{Begin: time.UnixMilli(before.T), At: time.UnixMilli(p.T), N: n})
	}
	return all
}

// birth says whether a series was born between two scrapes, and after which.
func (b births) birth(s collector.Series) (time.Time, bool) {
	instance, first := s.Labels.Get(model.InstanceLabel), s.Points[0].T
	since := first - 5*b.interval.Milliseconds()/2
	scraped := b.scraped[instance]
	if i, _ := slices.BinarySearch(scraped, first); i > 0 && scraped[i-1] >= since {
		return time.UnixMilli(scraped[i-1]), true
	}
	for _, p := range b.started[instance] {
		if start := int64(p.V * 1000); p.T == first && start > since {
			return time.UnixMilli(start), true
		}
	}
	return time.Time{}, false
}
