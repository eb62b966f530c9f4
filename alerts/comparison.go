package alerts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts/sequential"
)

// How a new version is compared with the old one beside it (judgement, section 4).
const (
	excusedRisk  = 1.5           // times the old version's rate that is no reason to roll back
	compareAlpha = 0.001         // chance of a false alarm in a whole watch
	suspectAlpha = 0.05          // at which any harm at all pends
	longestWatch = 2 * time.Hour // for which the alpha must last
	oneBlip      = time.Minute   // that may be left out of the evidence
	blipsTried   = 8             // the worst stretches of that length that are left out in turn
)

// Alpha bounds the chance that the gate fires in a whole watch on a version that
// is as good as the old one; 0 of a gate that makes no statistical claim.
func (g Gate) Alpha() float64 {
	if g.Compare != nil || g.Name == tenantErrors.Name {
		return compareAlpha
	}
	return 0
}

// A Comparison is what a gate compares in two arms.
type Comparison struct {
	Sides      []Side // several are averaged
	Noun       string // what is bad: "5xx"
	Missing    string // why nothing can be compared, if it cannot
	Terms      Terms
	Dispersion Dispersion
	Settles    time.Duration // how long the new version has for its first events, from its first exposure on
	Material   float64       // share of what the new version is exposed to that must be bad on a side, beyond chance, for it to roll anything back
}

// A Side is one way in which the new version may be worse.
type Side struct {
	Name    string
	Of      func(Tally) (n, bad float64)
	ByQueue func(Work) (exposure, events float64) // in place of Of: strata that have the same effect
	Beyond  float64                               // seconds, where what is bad took longer than that; else 0
}

// A pair is a tick in which both arms were read.
type pair struct {
	at             time.Time
	sides          [][]sequential.Tick // by stratum; none while the version settles
	jobs, controls float64             // that came to an end
}

// Compare is what the gate finds on the counts alone.
func (g Gate) compare(counts Counts, scene Scene) Finding {
	c := g.Compare(counts)
	pairs := c.pairs(counts, scene)
	e := scene.Kept.weigh(g, c, pairs, scene)
	f := g.finding(e.state(c, pairs, counts, scene))
	f.WorstSide, f.Scope, f.Required = e.worst, counts.Scope, g.Required && scene.comparesTracks(g.CountsWork())
	total := e.sum[e.worst]
	f.N = e.n
	if total.Exposure > 0 && total.ControlExposure > 0 {
		control := total.ControlEvents / total.ControlExposure
		f.Observed, f.Limit = new(total.Events/total.Exposure), new(c.Terms.R0*control)
		f.Baseline = &BaselineValue{Kind: "stable", ID: scene.Subject.Baseline.ID, Value: control, N: e.controlN}
	}
	f.Evidence = &Evidence{
		Method: "conditional binomial", LogE: e.logE, LeastLogE: e.least, Alpha: compareAlpha, Needed: sequential.Needed(compareAlpha),
		Dispersion: c.Dispersion.Value, Resolution: c.Dispersion.String(),
	}
	if !scene.Brief {
		f.MinDetectable = c.detectable(total)
	}
	if f.Since = scene.EvidenceFrom(); f.State == Firing {
		f.Since = e.since
	}
	at := make([]time.Time, len(pairs))
	for i, p := range pairs {
		at[i] = p.at
	}
	f.observed(at, scene)
	f.Thin = e.n < scene.Policy.MinRequests
	f.Message = c.reason(f, e)
	return f
}

// comparesTracks says whether the rollout is one that has two arms by intent.
func (s Scene) comparesTracks(ofWorkers bool) bool {
	return s.Subject.judgesCanary() && (len(s.Service.Tracks[canaryTrack]) > 0 || ofWorkers && s.Service.WorkerTracks)
}

// pairs are the ticks under the rollout in which both arms were read.
func (c Comparison) pairs(counts Counts, scene Scene) []pair {
	settled, from := c.settled(counts, scene), scene.EvidenceFrom()
	if !c.settles() {
		from = settled
	}
	ticks, most, n := counts.between(from, scene.Now), 0, len(c.Sides)
	for i := range ticks {
		if ticks[i].Subject.Seen && ticks[i].Control.Seen {
			most++
		}
	}
	pairs := make([]pair, 0, most)
	sides, whole := make([][]sequential.Tick, n*most), make([]sequential.Tick, n*most)
	for i := range ticks {
		at := n * len(pairs)
		if p, ok := c.pair(&ticks[i], settled, sides[at:min(at+n, n*most):n*most], whole[at:min(at+n, n*most)]); ok {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// pair compares one tick, if both arms were read in it. The sides are written into
// slices as long as there are sides.
func (c Comparison) pair(tick *Tick, settled time.Time, sides [][]sequential.Tick, whole []sequential.Tick) (pair, bool) {
	if !tick.Subject.Seen || !tick.Control.Seen || c.Missing != "" {
		return pair{}, false
	}
	p := pair{at: tick.At, sides: sides, jobs: tick.Subject.work().jobs(), controls: tick.Control.work().jobs()}
	if tick.At.After(settled) {
		for i, side := range c.Sides {
			p.sides[i] = side.strata(tick, whole[i:i+1:i+1])
		}
	}
	return p, true
}

// alone is the pair in memory of its own. Whoever keeps one of the pairs that were made
// together would keep all of them.
func (p pair) alone() pair {
	sides := make([][]sequential.Tick, len(p.sides))
	for i, side := range p.sides {
		sides[i] = slices.Clone(side)
	}
	p.sides = sides
	return p
}

// evidence is how the pairs stand.
type evidence struct {
	logE  float64           // that the version is materially worse
	least float64           // the same, with the worst minute left out
	hint  float64           // that it is worse at all
	since time.Time         // when logE reached what is needed; zero when it did not
	worst int               // the side that says most
	sum   []sequential.Tick // of all pairs, by side

	n, controlN float64 // requests, or jobs, of both arms
	settling    bool    // all there is, is from before the version had settled
	material    bool    // a side that proves harm by itself shows as much of it as matters
}

// add sums what one pair shows on every side.
func (e *evidence) add(p pair) {
	for i, side := range p.sides {
		for _, stratum := range side {
			e.settling = false
			if alone := stratum.Exposure == 0 || stratum.ControlExposure == 0; alone && len(side) > 1 {
				continue // nobody to compare with in that queue
			}
			e.sum[i].Events += stratum.Events
			e.sum[i].Exposure += stratum.Exposure
			e.sum[i].ControlEvents += stratum.ControlEvents
			e.sum[i].ControlExposure += stratum.ControlExposure
		}
	}
	e.n += p.jobs
	e.controlN += p.controls
}

// state is what the evidence means now.
func (e evidence) state(c Comparison, pairs []pair, counts Counts, scene Scene) State {
	needed := sequential.Needed(compareAlpha)
	missing, _ := counts.missing(scene.Now, scene.Interval)
	switch {
	case c.Missing != "":
		return NoSeries
	case e.least >= needed && e.logE >= needed && e.material:
		return Firing
	case missing != "":
		return missing
	case !scene.Now.After(scene.comparedFrom()):
		return WarmingUp
	case len(pairs) == 0:
		return NoSeries
	case e.settling && scene.Now.Sub(pairs[len(pairs)-1].at) > staleAfter(scene.Interval):
		return NoSeries // the old workers went before the new ones had settled
	case e.settling:
		return Pending
	case e.sum[e.worst].Exposure == 0, c.Terms.work && e.n+e.controlN == 0:
		return NoTraffic
	case e.logE >= needed, e.hint >= sequential.Needed(suspectAlpha):
		return Pending
	default:
		return OK
	}
}

// reason says it in one sentence.
func (c Comparison) reason(f Finding, e evidence) string {
	switch {
	case c.Missing != "":
		return c.Missing
	case f.State == WarmingUp:
		return "the version warms up: it is compared from the end of its grace on"
	case f.State.Missing() && f.State != NoTraffic && f.Observed == nil:
		return "there is nothing to compare with: no old version was read beside the new one"
	case e.settling:
		return "the workers of the new version have only begun"
	case f.Observed == nil:
		return c.Terms.alone
	case f.State == NoTraffic:
		return c.Terms.idle
	}
	noun := c.Noun
	if name := c.Sides[e.worst].Name; name != "" {
		noun = name
	}
	say := fmt.Sprintf("%s %s against %s beside it (n=%.0f and %.0f)", noun, c.Terms.figure(*f.Observed), c.Terms.figure(f.Baseline.Value), e.n, e.controlN)
	switch f.State {
	case Firing:
		return fmt.Sprintf("%s: %s, beyond chance also without the worst minute", say, c.Terms.proven)
	case Pending:
		switch needed := sequential.Needed(compareAlpha); {
		case e.least >= needed && e.logE >= needed:
			return fmt.Sprintf("%s: worse beyond chance, but it is not proven that over %g%% of them are", say, 100*c.Material)
		case e.logE >= needed:
			return say + ": worse beyond chance, but not yet without the worst minute"
		}
		return say + ": worse, but not yet beyond chance"
	default:
		return say
	}
}

func percent(ratio float64) string { return fmt.Sprintf("%.3g%%", 100*ratio) }

// attributeComparison finds what else than the version a firing comparison is to
// be blamed on. What both arms suffer has cancelled already.
func (g Gate) attributeComparison(ctx context.Context, f *Finding, source Counter, scene Scene) error {
	down, err := dependencyDown(ctx, scene, f.Since)
	if err != nil {
		return err
	}
	if down != "" {
		f.blame(Dependency, down+" was down when it was proven")
		return nil
	}
	counts, err := source(ctx, g, scene, true)
	if err != nil {
		return err
	}
	if pod := g.worstOfPods(counts, f.WorstSide, scene); pod != "" {
		f.blame(Pod, "without "+pod+" all is well")
		return nil
	}
	if g.CountsWork() { // jobs tell neither tenant nor route
		return nil
	}
	all, err := readRollout(ctx, scene)
	if err != nil {
		return err
	}
	if tenant := g.worstOfTenants(all, scene); tenant != "" {
		f.blame(Tenant, "without "+tenant+" all is well")
	} else if g.sameWithinRoutes(all, scene) {
		f.blame(Traffic, "within routes nothing is worse: the new version is sent another mix of them")
	}
	return nil
}

// worstOfPods names the one instance without which nothing is suspected, "" when
// there is none or fewer than two others serve. It is looked for on the side that
// says most: under a low bucket edge it would be the busiest.
func (g Gate) worstOfPods(counts Counts, worst int, scene Scene) string {
	c := g.Compare(counts)
	bad, serving := map[string]float64{}, map[string]bool{}
	for _, tick := range counts.between(c.settled(counts, scene), scene.Now) {
		controlN, controlOf := 0.0, 0.0
		if c.Terms.R0 < 1 {
			controlN, controlOf = c.Sides[worst].total(tick.Control)
		}
		for name, tally := range tick.Pods {
			n, of := c.Sides[worst].total(tally)
			if controlN > 0 {
				of = n*controlOf/controlN - of // what it left undone
			}
			bad[name] += of
			serving[name] = serving[name] || n > 0
		}
	}
	if len(serving) <= othersServing {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(bad), func(a, b string) int { return cmp.Or(cmp.Compare(bad[b], bad[a]), cmp.Compare(a, b)) })
	g.Name += " without its worst instance" // is kept as well: it is asked at each tick while that one is ill
	rest := scene.Kept.weigh(g, c, c.pairs(counts.without(names[0]), scene), scene)
	if rest.logE >= suspicion {
		return ""
	}
	return names[0]
}
