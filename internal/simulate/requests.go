package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/alerts"
)

const (
	durationMetric = "http_request_duration_seconds"
	requestMetric  = "http_requests_total" // where tenants are told, which no histogram does
	requestPrefix  = "http_request"        // of both
	oldAddress     = "old:9464"
)

// A class of the requests to a version is a route or a tenant: which share of them it
// is, and the share of its own that fails.
type class struct {
	name          string
	share, errors float64
}

// Parts are what the requests of a scenario's service are made of. Which there are, and
// in which order, does not change.
type Parts struct {
	Label string // in which the series tell them: routeLabel or tenantLabel
	At    func(t time.Duration, isNew bool) []class
}

// The labels of parts.
const (
	routeLabel  = "route"
	tenantLabel = "tenant"
)

// undivided are the parts of a service of which nothing is told apart.
var undivided = []class{{share: 1}}

// An account is what one instance has counted up to each tick, by parts.
type account struct {
	random *rand.Rand
	seen   []bool // by ticks, from ticksBefore before the rollout on
	parts  [][]alerts.Tally
	all    []alerts.Tally
}

// books are the accounts of a world's instances. They go as far as ticks were
// drawn when somebody looked; what they tell is consistent with what the arms did.
type books struct {
	world    *world
	accounts map[string]*account
}

// of is the account of an instance up to the newest tick.
func (r *books) of(address string) *account {
	a := r.accounts[address]
	if a == nil {
		a = &account{random: rand.New(rand.NewPCG(uint64(r.world.run), uint64(len(r.accounts))))}
		r.accounts[address] = a
	}
	for tick := len(a.seen) - ticksBefore; tick <= len(r.world.ticks); tick++ {
		did, seen := r.world.did(address, tick)
		a.add(did, seen, r.world.scenario.Parts, time.Duration(tick)*interval, address != oldAddress)
	}
	return a
}

// did is what an instance did in a tick, and whether it was read then.
func (w *world) did(address string, tick int) (did alerts.Tally, seen bool) {
	isOld := address == oldAddress
	const blockTicks = ticksBefore / blocks
	switch {
	case tick > 0 && isOld:
		m := &w.ticks[tick-1]
		return m.old, m.old.Seen
	case tick > 0:
		did, seen = w.byPod(tick)[address]
		return did, seen
	case isOld && tick > -ticksBefore && tick%blockTicks == 0:
		return w.before[(tick+ticksBefore)/blockTicks-1], true
	default:
		return alerts.Tally{}, isOld || tick == 0
	}
}

// add counts one tick.
func (a *account) add(did alerts.Tally, seen bool, told *Parts, t time.Duration, isNew bool) {
	parts := undivided
	if told != nil {
		parts = told.At(t, isNew)
	}
	var before []alerts.Tally
	var all alerts.Tally
	if n := len(a.seen); n > 0 {
		before, all = a.parts[n-1], a.all[n-1]
	} else {
		before = make([]alerts.Tally, len(parts))
	}
	if seen && did.Requests > 0 {
		all = plus(all, did)
		if len(parts) == 1 {
			before = []alerts.Tally{all}
		} else {
			now := split(a.random, did, parts, told.Label == routeLabel)
			for i := range now {
				now[i] = plus(before[i], now[i])
			}
			before = now
		}
	}
	a.seen, a.parts, a.all = append(a.seen, seen), append(a.parts, before), append(a.all, all)
}

func plus(a, b alerts.Tally) alerts.Tally {
	sum := alerts.Tally{Requests: a.Requests + b.Requests, Errors: a.Errors + b.Errors}
	if len(b.Slower) > 0 {
		sum.Slower = make([]float64, len(b.Slower))
		copy(sum.Slower, a.Slower)
		for i, n := range b.Slower {
			sum.Slower[i] += n
		}
	}
	return sum
}

// split divides what was counted among parts: each failure and each success falls on
// one by its share of those. Of their durations nothing is known but that they are
// those of all.
func split(random *rand.Rand, t alerts.Tally, parts []class, buckets bool) []alerts.Tally {
	of := make([]alerts.Tally, len(parts))
	failed := func(p class) float64 { return p.share * p.errors }
	well := func(p class) float64 { return p.share * (1 - p.errors) }
	divide(random, t.Errors, parts, failed, func(i int, n float64) { of[i].Errors, of[i].Requests = n, n })
	divide(random, t.Requests-t.Errors, parts, well, func(i int, n float64) { of[i].Requests += n })
	if !buckets {
		return of
	}
	left, slower := t.Requests, slices.Clone(t.Slower)
	for i := range of {
		of[i].Slower = drawn(random, slower, left, of[i].Requests)
		for j, n := range of[i].Slower {
			slower[j] -= n
		}
		left -= of[i].Requests
	}
	return of
}

// divide divides a number among parts by their weights.
func divide(random *rand.Rand, n float64, parts []class, weight func(class) float64, give func(int, float64)) {
	all := 0.0
	for _, p := range parts {
		all += weight(p)
	}
	for i, p := range parts {
		got := n
		if i < len(parts)-1 {
			got = binomial(random, n, min(1, weight(p)/all))
		}
		give(i, got)
		n, all = n-got, all-weight(p)
	}
}

// drawn are the slow ones of so many that are taken from all, of which those are slow.
func drawn(random *rand.Rand, slower []float64, all, taken float64) []float64 {
	of, further := make([]float64, len(slower)), 0.0
	for i, n := range slices.Backward(slower) { // from the slowest bucket on
		bucket := n
		if i < len(slower)-1 {
			bucket -= slower[i+1]
		}
		got := hypergeometric(random, bucket, taken, all)
		taken, all = taken-got, all-bucket
		further += got
		of[i] = further
	}
	return of
}

// hypergeometric draws how many of a bucket are among so many that are taken from all.
func hypergeometric(random *rand.Rand, bucket, taken, all float64) float64 {
	if bucket <= 60 {
		hits := 0.0
		for range int(bucket) {
			if random.Float64()*all < taken-hits {
				hits++
			}
			all--
		}
		return hits
	}
	share := taken / all
	spread := math.Sqrt(bucket * share * (1 - share) * (all - bucket) / max(1, all-1))
	return min(bucket, taken, max(0, taken-(all-bucket), math.Round(bucket*share+random.NormFloat64()*spread)))
}

// requests are the series in which the instances count their requests.
func (w *world) requests() []line {
	r := &books{world: w, accounts: map[string]*account{}}
	lines := r.instance(oldAddress, false, false)
	count := canaryPods
	if w.rollout.Strategy != alerts.Canary {
		count = fleetPods
	}
	for i := range count {
		lines = append(lines, r.instance(podName(i), true, false)...)
	}
	return lines
}

// stable are those of the instances that are stable ones after the promotion of a
// canary: they count from then on.
func (w *world) stable() []line {
	r := &books{world: w, accounts: map[string]*account{}}
	var lines []line
	for i := range fleetPods {
		lines = append(lines, r.instance(podName(i), false, true)...)
	}
	return lines
}

// instance are the series of one instance, of a new one as that or as a stable one.
func (r *books) instance(address string, isNew, isStable bool) []line {
	parts, told := undivided, r.world.scenario.Parts
	if told != nil {
		parts = told.At(0, isNew)
	}
	var lines []line
	add := func(l labels.Labels, of func(*account, int) float64) {
		lines = append(lines, line{labels: l, value: r.counter(address, isNew, isStable, of), keeps: !isStable})
	}
	for i, p := range parts {
		count, more := durationMetric+"_count", []string(nil)
		if told != nil {
			if more = []string{told.Label, p.name}; told.Label == tenantLabel {
				count = requestMetric
			}
		}
		labelled := func(metric string, pairs ...string) labels.Labels {
			return r.world.instance(metric, address, isNew, append(pairs, more...)...)
		}
		add(labelled(count, "status_code", "200"), func(a *account, at int) float64 { return a.parts[at][i].Requests - a.parts[at][i].Errors })
		add(labelled(count, "status_code", "500"), func(a *account, at int) float64 { return a.parts[at][i].Errors })
		of := func(a *account, at int) alerts.Tally { return a.parts[at][i] }
		switch {
		case told == nil || told.Label == routeLabel:
			r.buckets(labelled, of, add)
		case i == 0: // no histogram tells tenants
			more = nil
			r.buckets(labelled, func(a *account, at int) alerts.Tally { return a.all[at] }, add)
		}
	}
	return lines
}

// buckets adds the series of a histogram.
func (*books) buckets(labelled func(string, ...string) labels.Labels, of func(*account, int) alerts.Tally, add func(labels.Labels, func(*account, int) float64)) {
	for i := range cells {
		edge := math.Inf(1)
		if i < len(edges) {
			edge = edges[i]
		}
		l := labelled(durationMetric+"_bucket", "status_code", "200", model.BucketLabel, strconv.FormatFloat(edge, 'g', -1, 64))
		add(l, func(a *account, at int) float64 {
			t := of(a, at)
			if i < len(t.Slower) {
				return t.Requests - t.Slower[i]
			}
			return t.Requests
		})
	}
}

// counter is the value of a series at each tick.
func (r *books) counter(address string, isNew, isStable bool, of func(*account, int) float64) func(int) (float64, bool) {
	w := r.world
	isCanary := isNew && w.rollout.Strategy == alerts.Canary
	return func(tick int) (float64, bool) {
		promoted := int(w.all / interval)
		switch {
		case tick > len(w.ticks), isCanary && w.all > 0 && tick > promoted, isStable && (w.all == 0 || tick < promoted):
			return 0, false
		}
		a, at := r.of(address), tick+ticksBefore
		if !isStable {
			return of(a, at), a.seen[at]
		}
		return of(a, at) - of(a, promoted+ticksBefore), a.seen[at] || tick == promoted
	}
}
