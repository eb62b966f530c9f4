package alerts

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/rollwatch/rollwatch/alerts/sequential"
)

// How a tenant is judged (docs/decisions/0009).
const (
	tenantAlpha   = compareAlpha // chance of a false alarm over all tenants of a watch, if nothing drifts
	littleKnown   = 20           // requests before the rollout below which a tenant is not known by its own
	workedPerHour = 20           // successes an hour before the rollout, for a tenant of whom all requests fail now
	failedAlone   = 10           // of its requests in a row that failed, when the old version serves it no more
	failedBeside  = 4            // the same, while the old version answers it
	failedMinutes = 2            // over which they are spread
	newcomers     = 3            // tenants that never worked, which are more than one broken client
	suspicious    = 1            // nats, from which on evidence is said to have begun
)

// A TenantPath names a unit of the hierarchy of tenants by the values of its labels,
// the largest unit first.
type TenantPath string

// PathOf is the unit with those values; it ends before the first empty one. No value
// holds a unit separator (U+001F).
func PathOf(values ...string) TenantPath {
	if i := slices.Index(values, ""); i >= 0 {
		values = values[:i]
	}
	return TenantPath(strings.Join(values, tenantSeparator))
}

// tenantSeparator is in no value of a path: tenantOf sees to it.
const tenantSeparator = "\x1f"

func (t TenantPath) values() []string { return strings.Split(string(t), tenantSeparator) }

// String is how people read it: acme/eu/example.com. Tenants may choose their names:
// what cannot be printed is replaced, and no more than shownOfName is shown of each.
func (t TenantPath) String() string {
	names := t.values()
	for i, name := range names {
		runes := []rune(name)
		if len(runes) > shownOfName {
			runes = append(runes[:shownOfName-1], '…')
		}
		for at, c := range runes {
			if !unicode.IsPrint(c) {
				runes[at] = unicode.ReplacementChar
			}
		}
		names[i] = string(runes)
	}
	return strings.Join(names, "/")
}

// shownOfName is how many characters are shown of the name of a unit.
const shownOfName = 64

// in is the unit that the tenant is part of, "" of a largest one.
func (t TenantPath) in() TenantPath {
	return t[:max(0, strings.LastIndex(string(t), tenantSeparator))]
}

// A TenantTally is what one tenant was answered in one minute.
type TenantTally struct {
	New, Old Ratio // by the new version, and by the old one beside it: requests, of which 5xx
}

// A TenantMinute is what all tenants were answered in one minute, by the smallest
// unit that the service tells.
type TenantMinute map[TenantPath]*TenantTally

// TenantCounts is all that the gate of tenants needs. It comes from the window of a
// Scene, or from a simulation.
type TenantCounts struct {
	Before  map[TenantPath]Ratio // before the rollout, over BeforeHours hours
	Hours   float64
	Minutes []TenantMinute // since the rollout, in order; empty ones included
}

// A book is what is known of all tenants, minute by minute. It is the fold over the
// minutes, and may be kept.
type book struct {
	policy  Policy
	test    sequential.Test
	units   map[TenantPath]*unit
	hours   float64
	pooled  float64 // the share of errors that a tenant may have of whom nothing is known; 0: unknown
	known   int     // units of whom something is known
	arrived int     // units that came since
	minutes int
	total   TenantTally // of all
}

// A unit is a tenant, or a larger unit that holds some.
type unit struct {
	name    TenantPath
	parent  *unit
	parts   []*unit
	before  Ratio
	arrived int     // the how manieth newcomer it is; 0: it was there before
	null    float64 // the share of errors it may have had before; 0: not known yet
	minute  TenantTally
	total   TenantTally
	proof   sequential.Sparse
	run     failingRun
	began   int // the minute since which something speaks against the new version; 0: nothing does
	since   int // the minute since which it is proven that it fails the unit; 0: it is not
}

// A failingRun are the requests since the last success.
type failingRun struct {
	bad, nats float64 // failures, and how unlikely they were before
	minutes   int     // in which there were some
	old       Ratio   // what the old version did meanwhile
}

// newBook begins with what the tenants were before the rollout. Every minute of the
// longest watch may be the one in which something breaks.
func newBook(before map[TenantPath]Ratio, hours float64, policy Policy) *book {
	b := &book{policy: policy, units: map[TenantPath]*unit{}, hours: hours}
	b.test = sequential.Test{R0: excusedRisk, Effects: sequential.Breakage[:], Horizon: int(longestWatch / time.Minute)}
	var all Ratio
	for _, tenant := range slices.Sorted(maps.Keys(before)) {
		r := before[tenant].whole()
		if r.N == 0 {
			continue
		}
		all = all.add(r.N, r.Bad)
		for u := b.unit(tenant); u != nil; u = u.parent {
			u.before = u.before.add(r.N, r.Bad)
		}
	}
	b.known = len(b.units)
	b.pool(all)
	return b
}

// pool finds how ill a tenant of whom nothing is known may have been: as all were
// together, or as one in a hundred was.
func (b *book) pool(all Ratio) {
	if b.known == 0 {
		return
	}
	var shares []float64
	for _, u := range b.units {
		if len(u.parts) == 0 && u.before.N >= littleKnown {
			shares = append(shares, u.before.Value())
		}
	}
	b.pooled = highestRatio(all, b.needed(&unit{}))
	if len(shares) > 0 {
		slices.Sort(shares)
		b.pooled = max(b.pooled, shares[(len(shares)-1)*99/100])
	}
}

// unit finds or adds a unit, and those it is part of.
func (b *book) unit(tenant TenantPath) *unit {
	if u, ok := b.units[tenant]; ok {
		return u
	}
	u := &unit{name: tenant, proof: b.test.StartSparse()}
	if whole := tenant.in(); whole != "" {
		u.parent = b.unit(whole)
		u.parent.parts = append(u.parent.parts, u)
	}
	b.units[tenant] = u
	return u
}

// needed is the evidence that proves something of the unit, in nats. Half of alpha
// is for the units that were there before the rollout, in equal parts, since their
// number is known when it starts. The other half is for those that come later, of
// whom nobody knows how many will: the nth has its part by n(n+1), and those parts
// add up to one however many come. So no unit's proof depends on who comes later.
func (b *book) needed(u *unit) float64 {
	parts := 2 * float64(b.known)
	if u.arrived > 0 {
		parts = 2 * float64(u.arrived) * float64(u.arrived+1)
	}
	return sequential.Needed(tenantAlpha / parts)
}

// highestRatio is the highest share that could have shown no more than r, up to a
// chance of exp(-nats).
func highestRatio(r Ratio, nats float64) float64 {
	if r.N == 0 {
		return 1
	}
	q, low, high := r.Value(), r.Value(), 1.0
	for range 40 {
		p := (low + high) / 2
		if r.N*(divergence(1-q, 1-p)) < nats { // that so few are bad, by Chernoff's bound
			low = p
		} else {
			high = p
		}
	}
	return high
}

// observe takes the next minute.
func (b *book) observe(minute TenantMinute) {
	b.minutes++
	var touched []*unit
	var all TenantTally
	for _, tenant := range slices.Sorted(maps.Keys(minute)) {
		tally := TenantTally{minute[tenant].New.whole(), minute[tenant].Old.whole()}
		all = all.add(tally)
		for u := b.unit(tenant); u != nil; u = u.parent {
			if u.minute == (TenantTally{}) {
				touched = append(touched, u)
			}
			u.minute = u.minute.add(tally)
		}
	}
	b.total = b.total.add(all)
	old := telling(Ratio{}, all.Old, errorRatio.Limit, b.policy.MinRequests).Value()
	for _, u := range touched {
		b.weigh(u, old)
		u.minute = TenantTally{}
	}
}

// whole counts errors that no series of requests counts as requests too.
func (r Ratio) whole() Ratio { return Ratio{N: max(r.N, r.Bad), Bad: r.Bad} }

func (t TenantTally) add(u TenantTally) TenantTally {
	return TenantTally{t.New.add(u.New.N, u.New.Bad), t.Old.add(u.Old.N, u.Old.Bad)}
}

// weigh adds the unit's minute to what is known of it; old is the share of errors
// of the old version in that minute, over all tenants.
func (b *book) weigh(u *unit, old float64) {
	m := u.minute
	if u.before.N == 0 && u.arrived == 0 {
		b.arrived++
		u.arrived = b.arrived
	}
	u.total = u.total.add(m)
	var increments []float64
	switch {
	case m.New.N == 0:
	case m.Old.N > 0: // with itself: whatever it suffers beside the new version cancels
		if m.New.Bad+m.Old.Bad > 0 {
			increments = b.test.Increments(sequential.Tick{Events: m.New.Bad, Exposure: m.New.N, ControlEvents: m.Old.Bad, ControlExposure: m.Old.N})
		}
	case b.pooled > 0:
		increments = b.test.AgainstRatio(m.New.N, m.New.Bad, max(b.nullOf(u), old))
	}
	if increments != nil {
		u.proof.ObserveAt(b.test, b.minutes, increments)
	}
	u.run.observe(m, max(leastFavourable(u.before, Ratio{}, 1), old))
	speaks, suffers := u.run.bad > 0, false
	if !u.proof.Quiet() { // nearly all are
		all, least := u.proof.LogE(b.test)
		needed := b.needed(u)
		speaks, suffers = speaks || all >= suspicious, all >= needed && least >= needed
	}
	u.began = b.sinceWhen(u.began, speaks)
	u.since = b.sinceWhen(u.since, suffers || speaks && b.failsAltogether(u, b.needed(u)))
}

// sinceWhen keeps the minute since which something is so.
func (b *book) sinceWhen(since int, is bool) int {
	switch {
	case !is:
		return 0
	case since == 0:
		return b.minutes
	default:
		return since
	}
}

// nullOf is the share of errors that the unit may have had before the rollout.
func (b *book) nullOf(u *unit) float64 {
	if u.null == 0 {
		if u.null = b.pooled; u.before.N >= littleKnown || u.before.Bad > 0 {
			u.null = highestRatio(u.before, b.needed(u))
		}
	}
	return u.null
}

// observe adds a minute; p is the share of errors that would be usual.
func (r *failingRun) observe(m TenantTally, p float64) {
	switch {
	case m.New.N > m.New.Bad:
		*r = failingRun{}
		return
	case m.New.Bad > 0:
		r.bad += m.New.Bad
		r.nats -= m.New.Bad * math.Log(p)
		r.minutes++
	}
	if r.bad > 0 {
		r.old = r.old.add(m.Old.N, m.Old.Bad)
	}
}

// failsAltogether says whether all requests of a unit fail that were answered
// before. What the old version fails as well is not the new one's.
func (b *book) failsAltogether(u *unit, needed float64) bool {
	r := u.run
	if b.hours == 0 || u.before.N-u.before.Bad < workedPerHour*b.hours || r.minutes < failedMinutes || r.nats < needed {
		return false
	}
	if r.old.N > 0 {
		return r.bad >= failedBeside && r.old.N-r.old.Bad >= failedAlone && r.old.Value() < 0.5
	}
	return r.bad >= failedAlone
}

// worked says whether the unit is known to have been answered at all.
func (u *unit) worked() bool {
	good := func(r Ratio) bool { return r.N > r.Bad }
	return good(u.before) || good(u.total.New) || good(u.total.Old)
}
