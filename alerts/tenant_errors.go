package alerts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/alerts/sequential"
)

// tenantErrors finds a tenant whom the new version fails, however small a part of
// the traffic that is: an average over all tenants would hide it.
var tenantErrors = Gate{
	Name: "tenant_errors",
	Help: "requests of a tenant are answered with a 5xx over 1.5 times as often as by the old version beside the new one, or as before the rollout: beyond chance among all tenants, " +
		"and not by two minutes alone; or none of its requests is answered any more. " +
		"A tenant that was failed as much before does not fire it; where it fires, other gates may hold for the same tenant, and the rollout is rolled back",
	Summary:   "The new version fails a tenant.",
	From:      fromCounts,
	Mode:      Enforce,
	Unit:      "tenants",
	Required:  true,
	CatchesUp: true,
	impact:    "tenants of %s are answered with errors that they were not before",
	Applies:   func(s *Service) bool { return hasMetrics(s) && len(s.tenantLabels()) > 0 },
	Eval:      evalTenantErrors,
	alertQL:   firesQL,
	drawQL:    observedQL,
}

// namedTenants is how many are named in a reason.
const namedTenants = 3

// A tenantView is what a gate of tenants looks at besides what they were answered.
type tenantView struct {
	until time.Time   // the end of the newest minute that was counted
	times []time.Time // of the scrapes in which the new version told its tenants
	seen  bool        // requests of the new version were read at all
	scope Labels
}

func evalTenantErrors(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	kept := scene.Kept
	if kept == nil {
		kept = &Kept{}
	}
	fold := &kept.tenants
	fold.mu.Lock()
	defer fold.mu.Unlock()
	switch err := fold.advance(ctx, scene); {
	case errors.Is(err, context.DeadlineExceeded) && kept == scene.Kept:
		return gate.catchingUp(fold, scene), nil
	case err != nil:
		return Finding{}, err
	}
	view := tenantView{until: fold.until, times: fold.times, seen: fold.seen, scope: fold.told.at(scene.Now).scope}
	f, ill := gate.judgeTenants(fold.book, view, scene)
	f.Query = gate.query(scene.Service)
	if f.State != Firing {
		return f, nil
	}
	return f, attributeTenants(ctx, &f, fold.book, ill, scene)
}

// catchingUp is what the gate finds when time was up before all was read. What was
// read is kept, and the next judgement goes on from there.
func (g Gate) catchingUp(f *tenantFold, scene Scene) Finding {
	finding := g.finding(WarmingUp)
	finding.Since, finding.Query = scene.EvidenceFrom(), g.query(scene.Service)
	finding.Message = "there are many tenants: "
	if f.before != nil {
		finding.Message += "what they were before the rollout is still being read"
	} else {
		finding.Message += "they are read up to " + clock(f.until) + " yet"
	}
	return finding
}

// JudgeTenants is what the gate finds on the counts alone: scene.Window is not
// looked at. What it is to be blamed on is for Evaluate to say.
func (g Gate) JudgeTenants(counts TenantCounts, scene Scene) Finding {
	b := newBook(counts.Before, counts.Hours, scene.Policy)
	view := tenantView{until: scene.EvidenceFrom(), seen: true}
	for _, minute := range counts.Minutes {
		b.observe(minute)
		for at := scene.Interval; at <= time.Minute; at += scene.Interval {
			view.times = append(view.times, view.until.Add(at))
		}
		view.until = view.until.Add(time.Minute)
	}
	f, _ := g.judgeTenants(b, view, scene)
	return f
}

// judgeTenants finds what the gate says, and the units that suffer, of which each
// holds all of its evidence.
func (g Gate) judgeTenants(b *book, view tenantView, scene Scene) (Finding, []*unit) {
	ill := b.ill()
	closest, margin := b.closest()
	f := g.finding(b.state(view, len(ill) > 0, margin, scene))
	f.Scope = view.scope
	f.Required = g.Required && b.comparable()
	f.Limit, f.N = new(0.0), b.total.New.N
	if !f.State.Missing() {
		f.Observed = new(float64(len(ill)))
	}
	f.Since = scene.EvidenceFrom()
	settled := scene
	settled.Now = view.until // the minute under way says nothing yet
	f.observed(view.times, settled)
	f.Thin = b.total.New.N < scene.Policy.MinRequests
	if len(ill) > 0 {
		closest = ill[0]
	}
	f.Evidence = &Evidence{Method: "sequential, by tenant", Alpha: tenantAlpha}
	if closest != nil {
		f.Evidence.LogE, f.Evidence.LeastLogE = closest.proof.LogE(b.test)
		f.Evidence.Needed = b.needed(closest)
		f.Baseline = b.baselineOf(closest, scene)
		if closest.failing(b) {
			f.Evidence.Method, f.Evidence.LogE, f.Evidence.LeastLogE = "consecutive, by tenant", closest.run.nats, 0
		}
	}
	if f.State == Firing {
		f.Since = b.timeOf(ill[0].since, scene)
		if len(ill) == 1 {
			f.Scope = ill[0].scope(view.scope, scene.Service.tenantLabels())
		}
	}
	f.Message = b.reason(&f, view, ill, closest, scene)
	return f, ill
}

// failing says whether the unit suffers because nothing of it is answered.
func (u *unit) failing(b *book) bool { return b.failsAltogether(u, b.needed(u)) }

// comparable says whether there is anything to compare the new version with.
func (b *book) comparable() bool { return b.known > 0 || b.total.Old.N > 0 }

// timeOf is the end of a minute.
func (b *book) timeOf(minute int, scene Scene) time.Time {
	return scene.EvidenceFrom().Add(time.Duration(minute) * tenantMinute(scene))
}

// served is how many of the largest units the new version served.
func (b *book) served() int {
	n := 0
	for _, u := range b.units {
		if u.parent == nil && u.total.New.N > 0 {
			n++
		}
	}
	return n
}

// closest is the unit of which the least is missing to prove that it suffers, and
// how much that is in nats; nil when there is none.
func (b *book) closest() (closest *unit, margin float64) {
	for _, u := range b.units {
		if u.began == 0 {
			continue
		}
		all, least := u.proof.LogE(b.test)
		m := b.needed(u) - min(all, least)
		if closest == nil || m < margin || m == margin && u.name < closest.name {
			closest, margin = u, m
		}
	}
	return closest, margin
}

// suspectedBy is how much less evidence makes a gate pend: that of suspectAlpha.
var suspectedBy = sequential.Needed(tenantAlpha) - sequential.Needed(suspectAlpha)

func (b *book) state(view tenantView, fires bool, margin float64, scene Scene) State {
	switch {
	case fires && scene.warmingUp():
		return WarmingUp
	case fires:
		return Firing
	case !view.until.After(scene.EvidenceFrom()) && scene.Now.After(scene.EvidenceFrom()):
		return WarmingUp
	case len(view.times) == 0:
		return NoSeries
	case view.until.Sub(view.times[len(view.times)-1]) > staleAfter(scene.Interval):
		return Stale
	case !b.comparable():
		return NoSeries
	case b.total.New.N == 0:
		return NoTraffic
	case margin > 0 && margin <= suspectedBy || b.anySuffers():
		return Pending
	default:
		return OK
	}
}

// anySuffers says whether it is proven of any unit, and be it one that never worked.
func (b *book) anySuffers() bool {
	for _, u := range b.units {
		if u.since > 0 {
			return true
		}
	}
	return false
}

// baselineOf is what the unit was compared with.
func (b *book) baselineOf(u *unit, scene Scene) *BaselineValue {
	if old := u.total.Old; old.N > 0 {
		return &BaselineValue{Kind: BaselineStable, ID: scene.Subject.Baseline.ID, Value: old.Value(), N: old.N}
	}
	if u.before.N > 0 {
		return &BaselineValue{Kind: BaselineBefore, ID: scene.Subject.Baseline.ID, Value: u.before.Value(), N: u.before.N}
	}
	return &BaselineValue{Kind: BaselineNone, ID: scene.Subject.Baseline.ID, Value: b.pooled}
}

// reason says it in one sentence.
func (b *book) reason(f *Finding, view tenantView, ill []*unit, closest *unit, scene Scene) string {
	names := scene.Service.tenantLabels()
	switch f.State {
	case NoSeries:
		switch {
		case view.seen && len(view.times) == 0:
			return fmt.Sprintf("the requests are counted, but without the label %s, so that tenants cannot be told", names[0])
		case len(view.times) == 0:
			return "no series counts requests of tenants since the rollout started"
		default:
			return "no tenant is known from before the rollout, and no old version serves beside the new one: there is nothing to compare with"
		}
	case Stale:
		return "nothing was read of any tenant since " + clock(f.LastSeen)
	case NoTraffic:
		return "no requests of tenants"
	case Firing:
		return b.whoSuffers(ill, names)
	case WarmingUp:
		if len(ill) > 0 {
			return b.whoSuffers(ill, names) + ", while it warms up"
		}
		return "the first minute is not over"
	case Pending:
		if closest.since > 0 {
			return b.say(closest, names) + ": not known to have worked for it before"
		}
		if f.Evidence.LogE >= f.Evidence.Needed {
			return b.say(closest, names) + ": worse beyond chance, but not yet without its worst two minutes"
		}
		return b.say(closest, names) + ": worse, but not yet beyond chance among all tenants"
	default:
		return fmt.Sprintf("no tenant of %d is failed more than before (n=%.0f)", b.served(), f.N)
	}
}

// whoSuffers names those that suffer most, and how many do.
func (b *book) whoSuffers(ill []*unit, names []string) string {
	text := b.say(ill[0], names)
	if len(ill) == 1 {
		return text
	}
	more := ill[1:min(len(ill), namedTenants)]
	served := b.served()
	if text += fmt.Sprintf("; so do %d of %d tenants", len(ill), served); 2*len(ill) > served {
		text = fmt.Sprintf("most tenants suffer (%d of %d), as %s", len(ill), served, b.say(ill[0], names))
	}
	others := make([]string, len(more))
	for i, u := range more {
		others[i] = u.name.String()
	}
	text += ", with it " + strings.Join(others, ", ")
	if left := len(ill) - 1 - len(more); left > 0 {
		text += fmt.Sprintf(" and %d more", left)
	}
	return text
}

// say says how a unit is answered.
func (b *book) say(u *unit, names []string) string {
	level := names[min(len(u.name.values()), len(names))-1]
	text := fmt.Sprintf("%s %s: 5xx %s (n=%.0f)", level, u.name, percent(u.total.New.Value()), u.total.New.N)
	if u.failing(b) {
		text = fmt.Sprintf("%s %s: none of its last %.0f requests was answered", level, u.name, u.run.bad)
	}
	switch old := u.total.Old; {
	case old.N > 0:
		return fmt.Sprintf("%s, %s by the old version beside it (n=%.0f)", text, percent(old.Value()), old.N)
	case u.before.N > 0:
		return fmt.Sprintf("%s, %s before the rollout (n=%.0f)", text, percent(u.before.Value()), u.before.N)
	default:
		return text + ", and it is new"
	}
}
