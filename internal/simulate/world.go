package simulate

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

const (
	interval   = 15 * time.Second
	blocks     = 12              // of the hour before the rollout
	block      = 5 * time.Minute //
	strayMiss  = 0.003           // share of the scrapes of an arm that are missed anyway
	canaryPods = 3
	fleetPods  = 6
	replaceOne = 50 * time.Second // a rolling update takes for each instance
)

// begun is when every rollout starts.
var begun = time.Unix(20_000*24*3600, 0).UTC()

// A world is one rollout under way: what its versions did, tick by tick. Ticks
// are drawn when they are asked for, in order.
type world struct {
	scenario *Scenario
	rollout  Rollout
	rps      float64
	random   *rand.Rand
	run      int

	before []alerts.Tally // the hour before, by blocks
	ticks  []moment
	room   []alerts.Tick // room for the counts of a judge
	all    time.Duration // since when the new version has all of the traffic; 0: not by a promotion
	late   time.Duration // after a scrape, whatever changes: less than an interval

	newStream, oldStream, oddStream stream
	newCarry, oldCarry, oddCarry    alerts.Tally  // of scrapes that were missed
	workBefore                      []alerts.Work // of each tick of the hour before, where workers tell their version
	newWorkCarry, oldWorkCarry      alerts.Work
	slower                          []float64 // what the tallies' slices are cut from
}

// A moment is what happened in one tick.
type moment struct {
	at       time.Duration
	weather  weather
	new, old alerts.Tally // as scraped
	odd      alerts.Tally // of the new version's odd instance
	source   alerts.Source
	harm     float64 // requests that the fault spoiled
	jobs     float64 // that were completed
	failures float64 // jobs that failed
	pods     map[string]alerts.Tally

	newWork, oldWork alerts.Work // as scraped, where workers tell their version
}

// begin makes the world of one run; what a former run needed is used again.
func (w *world) begin(s *Scenario, r Rollout, rps float64, random *rand.Rand, run int) {
	*w = world{
		scenario: s, rollout: r, rps: rps, random: random, run: run,
		before: w.before[:0], ticks: w.ticks[:0], room: w.room[:0], slower: w.slower[:0], workBefore: w.workBefore[:0],
	}
	for i := range blocks {
		weather := fair()
		s.At(&weather, -block*time.Duration(blocks-i), r)
		w.oldStream.set(weather.old, rps*weather.load*block.Seconds())
		w.before = append(w.before, w.oldStream.draw(w))
	}
	w.late = time.Duration(random.Float64() * float64(interval))
	for s.Workers && len(w.workBefore) < ticksBefore {
		w.workBefore = append(w.workBefore, w.labours(1, 1, 1, 0))
	}
}

// share is the part of the traffic that the new version gets in a tick.
func (w *world) share(t time.Duration) float64 {
	switch {
	case w.rollout.Strategy == alerts.Rolling:
		return min(1, float64(1+(t-interval)/replaceOne)/fleetPods)
	case w.rollout.Strategy == alerts.BlueGreen, w.all > 0 && t > w.all:
		return 1
	default:
		return w.rollout.Share
	}
}

// pods is how many instances the new version has.
func (w *world) pods(t time.Duration) int {
	if w.rollout.Strategy == alerts.Canary && (w.all == 0 || t <= w.all) {
		return canaryPods
	}
	return fleetPods
}

// reach draws the ticks up to the n-th, and returns that.
func (w *world) reach(n int) *moment {
	for len(w.ticks) < n {
		t := time.Duration(len(w.ticks)+1) * interval
		w.ticks = append(w.ticks, moment{at: t, weather: fair(), source: alerts.SourceUp})
		w.draw(&w.ticks[len(w.ticks)-1], t)
	}
	return &w.ticks[n-1]
}

// draw draws what happened in a tick.
func (w *world) draw(m *moment, t time.Duration) {
	was := fair()
	w.scenario.At(&was, t-interval, w.rollout)
	w.scenario.At(&m.weather, t, w.rollout)
	requests := w.rps * m.weather.load * interval.Seconds()
	share := w.share(t)
	odd := 0.0
	if m.weather.hasOdd {
		if odd = 1 / float64(w.pods(t)); m.weather.probes.oddDown {
			odd = 0
		}
		w.oddStream.set(m.weather.odd, requests*share*odd)
		m.odd = w.oddStream.draw(w)
	}
	m.new = w.tick(&w.newStream, was.new, m.weather.new, requests*share*(1-odd))
	if m.weather.hasOdd {
		m.new = w.sum(m.new, m.odd)
	}
	if share < 1 {
		m.old = w.tick(&w.oldStream, was.old, m.weather.old, requests*(1-share))
	}
	early := w.early()
	m.harm = requests * share * (early*was.harm + (1-early)*m.weather.harm)
	if w.scenario.Probes {
		m.jobs = w.few(m.weather.probes.finishing)
	}
	w.scrape(m, share)
	if w.scenario.Workers {
		w.labour(m, share)
	}
}

// early is the part of a tick that is as the one before it was.
func (w *world) early() float64 { return w.late.Seconds() / interval.Seconds() }

// tick draws what an arm did in a tick: a fault does not wait for a scrape.
func (w *world) tick(s *stream, was, is condition, requests float64) alerts.Tally {
	if was == is {
		s.set(is, requests)
		return s.draw(w)
	}
	s.set(was, requests*w.early())
	first := s.draw(w)
	s.set(is, requests*(1-w.early()))
	return w.sum(first, s.draw(w))
}

// few draws how many jobs there were in a tick.
func (w *world) few(perSecond float64) float64 {
	p := poissonOf(perSecond * interval.Seconds())
	return p.draw(w.random)
}

// scrape lets the scrapes of the tick show what they see.
func (w *world) scrape(m *moment, share float64) {
	newMissed, oldMissed := w.random.Float64() < strayMiss, w.random.Float64() < strayMiss
	switch {
	case m.weather.noSeries: // counters that are gone count no more
		m.new, m.old, m.odd = alerts.Tally{}, alerts.Tally{}, alerts.Tally{}
		return
	case m.weather.missed, newMissed && (oldMissed || share == 1):
		m.source = alerts.SourceUnknown
	}
	away := m.source != alerts.SourceUp
	m.new, w.newCarry = w.seen(m.new, w.newCarry, away || newMissed)
	m.odd, w.oddCarry = w.seen(m.odd, w.oddCarry, away || newMissed)
	m.old, w.oldCarry = w.seen(m.old, w.oldCarry, away || oldMissed || share == 1)
}

// seen is what a scrape shows: with what fell in those before that were missed.
func (w *world) seen(is, carry alerts.Tally, missed bool) (shown, carried alerts.Tally) {
	if carry.Requests > 0 {
		is = w.sum(is, carry)
	}
	if missed {
		return alerts.Tally{}, is
	}
	is.Seen = true
	return is, alerts.Tally{}
}

// sum adds two tallies into slices of the world's own.
func (w *world) sum(a, b alerts.Tally) alerts.Tally {
	slower := w.cut()
	copy(slower, a.Slower)
	for i, n := range b.Slower {
		slower[i] += n
	}
	return alerts.Tally{Requests: a.Requests + b.Requests, Errors: a.Errors + b.Errors, Timed: a.Timed + b.Timed, Slower: slower}
}

// cut is a slice for the slow requests of one tally.
func (w *world) cut() []float64 {
	n := len(w.slower)
	if n+len(edges) > cap(w.slower) { // what was cut before stays where it is
		w.slower, n = make([]float64, 0, max(1<<14, 2*cap(w.slower))), 0
	}
	w.slower = w.slower[:n+len(edges)]
	cut := w.slower[n : n+len(edges) : n+len(edges)]
	clear(cut)
	return cut
}

// A stream draws the requests of one arm in a tick: each bucket, and the errors,
// are Poisson numbers of their own.
type stream struct {
	is     condition
	mean   float64
	well   [cells]poisson
	failed poisson
	fails  [cells]poisson // of the errors, where they are many
	shares [cells]float64
}

// singly is how many errors are put into their buckets one by one.
const singly = 20

func (s *stream) set(is condition, mean float64) {
	if s.is == is && s.mean == mean {
		return
	}
	if s.is.slower != is.slower || s.is.tail != is.tail || s.mean == 0 {
		s.shares = is.shares()
	}
	s.is, s.mean = is, mean
	s.failed = poissonOf(mean * is.errors)
	for i, share := range s.shares {
		s.well[i] = poissonOf(mean * (1 - is.errors) * share)
		if s.failed.mean > singly {
			s.fails[i] = poissonOf(mean * is.errors * share)
		}
	}
}

func (s *stream) draw(w *world) alerts.Tally {
	var count [cells]float64
	errors := 0.0
	for i := range count {
		if s.well[i].mean > 0 {
			count[i] = s.well[i].draw(w.random)
		}
	}
	if s.failed.mean > singly {
		for i := range count {
			n := s.fails[i].draw(w.random)
			count[i] += n
			errors += n
		}
	} else {
		errors = s.failed.draw(w.random)
		for range int(errors) {
			count[s.bucket(w.random.Float64())]++
		}
	}
	t := alerts.Tally{Errors: errors, Slower: w.cut()}
	for i := cells - 1; i >= 0; i-- {
		if i < len(edges) {
			t.Slower[i] = t.Requests
		}
		t.Requests += count[i]
	}
	t.Timed = t.Requests
	return t
}

// bucket is the bucket of a request at that quantile.
func (s *stream) bucket(quantile float64) int {
	for i, share := range s.shares {
		if quantile -= share; quantile < 0 {
			return i
		}
	}
	return cells - 1
}

// byPod splits what the new version did in a tick over its instances, the odd one
// first. What is split is the same each time.
func (w *world) byPod(n int) map[string]alerts.Tally {
	m := &w.ticks[n-1]
	if m.pods != nil || !m.new.Seen {
		return m.pods
	}
	pods, rest := map[string]alerts.Tally{}, m.new
	m.pods = pods
	random := rand.New(rand.NewPCG(uint64(w.run), uint64(n)))
	count := w.pods(m.at)
	for i := range count {
		name := podName(i)
		switch {
		case i == 0 && m.weather.hasOdd:
			pods[name] = m.odd
		case i == count-1:
			pods[name] = rest
		default:
			pods[name] = part(random, rest, 1/float64(count-i))
		}
		pod := pods[name]
		pod.Seen = true
		pods[name] = pod
		rest = less(rest, pod)
	}
	return pods
}

func podName(i int) string { return fmt.Sprintf("new-%d:9464", i) }

// part is a share of the requests of a tally.
func part(random *rand.Rand, t alerts.Tally, share float64) alerts.Tally {
	p := alerts.Tally{Slower: make([]float64, len(t.Slower))}
	for i := len(edges); i >= 0; i-- {
		in := t.Requests
		if i > 0 {
			in = t.Slower[i-1]
		}
		if i < len(edges) {
			in -= t.Slower[i]
			p.Slower[i] = p.Requests
		}
		p.Requests += binomial(random, in, share)
	}
	p.Timed = p.Requests
	if t.Requests > 0 { // of no instance more may fail than it was sent
		failed := binomial(random, t.Errors, p.Requests/t.Requests)
		p.Errors = min(t.Errors, p.Requests, max(failed, t.Errors-(t.Requests-p.Requests)))
	}
	return p
}

func less(t, u alerts.Tally) alerts.Tally {
	slower := make([]float64, len(t.Slower))
	for i := range slower {
		slower[i] = t.Slower[i] - u.Slower[i]
	}
	return alerts.Tally{Seen: t.Seen, Requests: t.Requests - u.Requests, Errors: t.Errors - u.Errors, Timed: t.Timed - u.Timed, Slower: slower}
}
