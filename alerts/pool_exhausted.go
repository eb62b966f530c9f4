package alerts

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// poolExhausted finds a version whose instances have no free connection left, while
// some of their requests wait for one.
var poolExhausted = Gate{
	Name:     "pool_exhausted",
	Help:     "a connection pool of the new version has no free connection while requests wait for one, at each scrape for two minutes; one that was so before the rollout does not count",
	Summary:  "A connection pool is exhausted.",
	From:     fromScrapes,
	Mode:     Enforce,
	Unit:     "pools",
	For:      2 * time.Minute,
	Required: true,
	impact:   "connection pools of %s have nothing free for those who wait",
	Applies:  func(s *Service) bool { return isScraped(s) || !s.Pool.isZero() },
	Eval:     evalPoolExhausted,
	alertQL:  func(g Gate, s *Service) string { return observedQL(g, s) + " > 0" },
	drawQL:   observedQL,
}

// A drought is a pool that is exhausted.
type drought struct {
	pool  *pool
	since time.Time // without a break up to now
	old   bool      // it was so before the rollout already, for as long as it takes
}

func evalPoolExhausted(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	span := scene.underRollout()
	span.From = span.From.Add(-gate.For)
	pools, err := readPools(ctx, scene, span)
	if err != nil {
		return Finding{}, err
	}
	f := gate.finding(OK)
	f.Limit, f.Window, f.Since = new(0.0), short(gate.For), scene.EvidenceFrom()
	f.Query, f.Evidence = gate.query(scene.Service), &Evidence{Method: "consecutive"}
	var subject, others []*pool
	if len(pools) > 0 { // to tell the arms takes all series of requests
		told, err := tellArms(ctx, scene)
		if err != nil {
			return Finding{}, err
		}
		f.Scope = told.scope
		subject, others = told.sortPools(pools)
	}
	f.observed(readAt(subject, scene), scene)
	if !f.Seen {
		f.State, f.Required = NoSeries, false
		f.Message = "no series tells of connection pools"
		return f, nil
	}
	f.N = float64(len(subject))
	if since := f.LastSeen.Add(staleAfter(scene.Interval)); since.Before(scene.Now) {
		f.State, f.Since, f.Message = Stale, since, "nothing was read of its connection pools since "+clock(f.LastSeen)
		return f, nil
	}
	dry := gate.droughts(subject, scene)
	gate.weighDroughts(&f, dry, scene)
	if f.State != Firing {
		return f, nil
	}
	return f, gate.attributeDroughts(ctx, &f, dry[0].since, subject, others, scene)
}

// sortPools tells the pools of what is judged from the others.
func (a arms) sortPools(pools []*pool) (subject, others []*pool) {
	for _, p := range pools {
		if a.judgesPool(p) {
			subject = append(subject, p)
		} else {
			others = append(others, p)
		}
	}
	return subject, others
}

// judgesPool says whether a pool is of what is judged. Where versions are told by a
// label it need not carry it: its instance tells.
func (a arms) judgesPool(p *pool) bool {
	if a.version != "" && p.labels.Get(a.version) == "" {
		return !a.others[p.instance] && !a.former[p.instance]
	}
	return a.isSubject(p.labels) && !(a.tracked && a.others[p.instance])
}

// readAt are the times at which any of the pools was read under the rollout.
func readAt(pools []*pool, scene Scene) []time.Time {
	var all []int64
	for _, p := range pools {
		for ms := range p.readings {
			if ms > scene.EvidenceFrom().UnixMilli() {
				all = append(all, ms)
			}
		}
	}
	return moments(all)
}

// droughts are the pools that are exhausted now, the longest first.
func (g Gate) droughts(pools []*pool, scene Scene) []drought {
	var dry []drought
	for _, p := range pools {
		since := p.drySince(p.newest(), scene.Interval)
		if since.IsZero() || scene.Now.Sub(p.newest()) > staleAfter(scene.Interval) {
			continue
		}
		dry = append(dry, drought{pool: p, since: later(since, scene.EvidenceFrom()), old: g.wasDry(p, scene)})
	}
	slices.SortStableFunc(dry, func(a, b drought) int { return a.since.Compare(b.since) })
	return dry
}

// wasDry says whether the pool was exhausted when the rollout began, for as long as
// it takes.
func (g Gate) wasDry(p *pool, scene Scene) bool {
	started := scene.EvidenceFrom()
	since := p.drySince(started, scene.Interval)
	return !since.IsZero() && started.Sub(since) >= g.For-2*scene.Interval
}

// fires is when a drought has lasted long enough, counted from the grace on.
func (g Gate) fires(d drought, scene Scene) time.Time { return later(d.since, scene.warm()).Add(g.For) }

// weighDroughts decides what exhausted pools mean.
func (g Gate) weighDroughts(f *Finding, dry []drought, scene Scene) {
	fresh := slices.DeleteFunc(slices.Clone(dry), func(d drought) bool { return d.old })
	f.Observed = new(float64(len(fresh)))
	switch {
	case len(fresh) == 0 && len(dry) > 0:
		f.Message = dry[0].pool.String() + " is exhausted, as it was before the rollout"
		return
	case len(fresh) == 0:
		f.Message = "its connection pools have connections for all who ask"
		return
	}
	worst := fresh[0]
	f.Message = fmt.Sprintf("%s has no free connection, and requests wait, since %s", worst.pool, clock(worst.since))
	if more := len(fresh) - 1; more > 0 {
		f.Message += fmt.Sprintf("; and %d more", more)
	}
	switch fires := g.fires(worst, scene); {
	case scene.warmingUp():
		f.State, f.Since = WarmingUp, worst.since
	case scene.Now.Before(fires):
		f.State, f.Since = Pending, worst.since
	default:
		f.State, f.Since = Firing, fires
	}
}

// attributeDroughts finds what else than the version exhausted pools are to be
// blamed on: what the old version suffers too, or did before, or one instance.
func (g Gate) attributeDroughts(ctx context.Context, f *Finding, since time.Time, subject, others []*pool, scene Scene) error {
	down, err := dependencyDown(ctx, scene, since)
	if err != nil {
		return err
	}
	ill, well := map[string]bool{}, map[string]bool{}
	for _, d := range g.droughts(subject, scene) {
		ill[d.pool.instance] = true
	}
	for _, p := range subject {
		if !ill[p.instance] && scene.Now.Sub(p.newest()) <= staleAfter(scene.Interval) {
			well[p.instance] = true
		}
	}
	all := slices.Concat(subject, others)
	before := slices.IndexFunc(all, func(p *pool) bool { return g.wasDry(p, scene) })
	// The old version may be seen to suffer no sooner than the new one fires, so now is enough.
	beside := g.droughts(others, scene)
	switch {
	case down != "":
		f.blame(Dependency, down+" was down when it began")
	case len(beside) > 0:
		f.blame(Dependency, beside[0].pool.String()+", of the old version, is exhausted as well")
	case before >= 0:
		f.blame(Dependency, all[before].String()+" was exhausted before the rollout already")
	case len(ill) == 1 && len(well) >= othersServing:
		f.blame(Pod, fmt.Sprintf("%d other instances have free connections", len(well)))
	}
	return nil
}
