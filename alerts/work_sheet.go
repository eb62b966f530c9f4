package alerts

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

// A station is an instance of one arm at one queue. Workers that are told by their
// names are one instance a track.
type station struct {
	subject         bool
	instance, queue string
}

// A sheet notes who worked where and when.
type sheet struct {
	read   workRead
	told   arms
	ticker *ticker
	queues []string
	worked map[station]map[int64]float64 // seconds up to each reading, in Unix milliseconds
}

// stationOf is where the series is counted, if it is of either arm.
func (s *sheet) stationOf(l labels.Labels) (station, bool) {
	at := s.told.place(l)
	if s.told.version != "" && l.Get(s.told.version) == "" { // it may be of either
		return station{}, false
	}
	if s.told.tracked && at.subject && s.told.servesOthers(l) {
		return station{}, false
	}
	who := station{at.subject, l.Get(model.InstanceLabel), s.read.queueOf(l)}
	if s.read.byName {
		who.instance = l.Get(trackLabel)
	}
	return who, at.subject || at.control
}

// attend notes that an instance worked on a queue for as long as it counted there.
func (s *sheet) attend(series collector.Series) {
	at, told := s.stationOf(series.Labels)
	if !told {
		return
	}
	for d := range s.ticker.counter.Deltas(series) {
		if !d.Begin.Before(s.ticker.span.From) && !d.At.After(s.ticker.span.To) {
			s.note(at, d.At.UnixMilli(), d.At.Sub(d.Begin).Seconds())
		}
	}
}

func (s *sheet) note(at station, ms int64, seconds float64) {
	if s.worked[at] == nil {
		s.worked[at] = map[int64]float64{}
	}
	s.worked[at][ms] = max(s.worked[at][ms], seconds)
}

// attendIdle notes instances that never finished a job: a counter with labels is
// not there before its first one. Where nothing names their queues, they stand at
// those that every instance of the old version works on: an instance for one queue is
// not slow at another.
func (s *sheet) attendIdle() {
	type arm struct {
		subject  bool
		instance string
	}
	working := map[arm]bool{}
	for at := range s.worked {
		working[arm{at.subject, at.instance}] = true
	}
	shared, queued := s.sharedQueues()
	idle := map[arm][]collector.Series{}
	for _, series := range s.presence() {
		at, told := s.stationOf(series.Labels)
		if who := (arm{at.subject, at.instance}); told && !working[who] {
			idle[who] = append(idle[who], series)
		}
	}
	if len(s.read.slots) == 0 {
		for who := range idle {
			if !who.subject { // not every instance of the service is a worker, then
				return
			}
		}
	}
	for who, all := range idle {
		for _, series := range all {
			queues := []string{s.read.queueOf(series.Labels)}
			if queues[0] == "" && queued {
				queues = shared
			}
			for _, queue := range queues {
				s.attendPresent(station{who.subject, who.instance, queue}, series)
			}
		}
	}
}

// sharedQueues are those that every instance of the old version worked on that
// finished any job; false where there is none.
func (s *sheet) sharedQueues() (shared []string, queued bool) {
	instances, at := map[string]bool{}, map[string]int{}
	for station := range s.worked {
		if !station.subject {
			instances[station.instance] = true
			at[station.queue]++
		}
	}
	for queue, n := range at {
		if n == len(instances) {
			shared = append(shared, queue)
		}
	}
	return shared, len(at) > 0
}

// presence are the series that say of an instance that it is a worker: how many jobs
// it takes at once; where nothing tells that, and tracks tell the arms, that it is
// there.
func (s *sheet) presence() []collector.Series {
	if len(s.read.slots) > 0 || !s.told.tracked {
		return s.read.slots
	}
	return s.read.ups
}

// attendPresent notes that an instance was there between the readings of a gauge, which
// names no version: where another version worked before, from when that was gone.
func (s *sheet) attendPresent(at station, series collector.Series) {
	var from int64
	if at.subject {
		from = s.othersUntil(at.instance)
	}
	for i := 1; i < len(series.Points); i++ {
		before, p := series.Points[i-1], series.Points[i]
		gap := time.Duration(p.T-before.T) * time.Millisecond
		if s.ticker.covers(p.T) && before.T >= from && p.V > 0 && gap <= staleAfter(s.read.interval) {
			s.note(at, p.T, gap.Seconds())
		}
	}
}

// othersUntil is when an instance told of another version last, where the canary is, in
// Unix milliseconds; 0: it never did.
func (s *sheet) othersUntil(instance string) int64 {
	var until int64
	for _, series := range slices.Concat(s.read.completed, s.read.failed) {
		l := series.Labels
		if s.told.tracked && l.Get(model.InstanceLabel) == instance && s.told.subject.with.match(l) && !s.told.isSubject(l) {
			until = max(until, series.Points[len(series.Points)-1].T)
		}
	}
	return until
}

// finished counts the jobs of a series.
func (s *sheet) finished(series collector.Series, count func(*Work, float64)) {
	at, told := s.stationOf(series.Labels)
	if !told {
		return
	}
	queue, found := slices.BinarySearch(s.queues, at.queue)
	if !found {
		return
	}
	s.ticker.add(series, s.told, func(tally *Tally, n float64) { count(s.work(tally, queue), n) })
}

// work is the tally's of a queue.
func (s *sheet) work(tally *Tally, queue int) *Work {
	if tally.Work == nil {
		tally.Work = make([]Work, len(s.queues))
	}
	return &tally.Work[queue]
}

// exposed counts the time of the workers, as many times as they take jobs at once.
func (s *sheet) exposed() {
	all := s.slotsOf()
	stations := slices.SortedFunc(maps.Keys(s.worked), func(a, b station) int {
		return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.queue, b.queue))
	})
	for _, at := range stations {
		queue, _ := slices.BinarySearch(s.queues, at.queue)
		find := s.ticker.finder(s.scraped(at))
		where := place{subject: at.subject, control: !at.subject}
		if s.told.byPod && at.subject {
			where.pod = at.instance
		}
		taken := all.of(slot{at.instance, at.queue})
		for _, ms := range slices.Sorted(maps.Keys(s.worked[at])) {
			tick := find(ms)
			if tick == nil {
				continue
			}
			seconds := s.worked[at][ms]
			if len(s.read.slots) > 0 {
				seconds *= taken(ms)
			}
			tick.change(where, func(tally *Tally) {
				tally.Seen = true
				s.work(tally, queue).Seconds += seconds
			})
		}
	}
}

// scraped stands for the series of a station.
func (s *sheet) scraped(at station) collector.Series {
	if s.read.byName {
		return collector.Series{}
	}
	return collector.Series{Labels: labels.FromStrings(model.InstanceLabel, at.instance)}
}

// slots are how many jobs an instance takes at once, by queue and time. Where the
// series names no queue it is so at every queue.
type slots map[slot]map[int64]float64

type slot struct{ instance, queue string }

func (s *sheet) slotsOf() slots {
	all := slots{}
	for _, series := range s.read.slots {
		at := slot{series.Labels.Get(model.InstanceLabel), s.read.queueOf(series.Labels)}
		if s.read.byName {
			at.instance = series.Labels.Get(trackLabel)
		}
		if all[at] == nil {
			all[at] = map[int64]float64{}
		}
		for _, p := range series.Points {
			all[at][p.T] += p.V
		}
	}
	return all
}

// of finds how many jobs are taken at once at a station, at ascending times: what
// was read last up to then.
func (all slots) of(at slot) func(ms int64) float64 {
	taken := all[at]
	if taken == nil {
		taken = all[slot{at.instance, ""}]
	}
	times, i := slices.Sorted(maps.Keys(taken)), 0
	return func(ms int64) float64 {
		for i < len(times) && times[i] <= ms {
			i++
		}
		if i == 0 {
			return 0
		}
		return taken[times[i-1]]
	}
}
