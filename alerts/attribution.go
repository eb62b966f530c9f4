package alerts

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"
)

// attribute finds what else than the version a firing gate on counts is to be
// blamed on.
func (g Gate) attribute(ctx context.Context, f *Finding, counts Counts, source Counter, scene Scene) error {
	down, err := dependencyDown(ctx, scene, g.evidenceBegan(f.Since, counts, scene))
	if err != nil {
		return err
	}
	if down != "" {
		f.blame(Dependency, down+" was down when it began")
		return nil
	}
	if down, err = g.downMeanwhile(ctx, counts, scene); err != nil {
		return err
	}
	if down != "" {
		f.blame(Dependency, "but for the time in which "+down+" was down it would not fire")
		return nil
	}
	if g.suffersAlike(g.Count(g, counts, scene), f.Since, counts, scene) {
		f.blame(Dependency, "the old version beside it is not better beyond chance")
		return nil
	}
	if counts, err = source(ctx, g, scene, true); err != nil {
		return err
	}
	if pod := g.worstPod(counts, scene); pod != "" {
		f.blame(Pod, "without "+pod+" all is well")
		return nil
	}
	all, err := readRollout(ctx, scene)
	if err != nil {
		return err
	}
	if tenant := g.worstTenant(all, scene); tenant != "" {
		f.blame(Tenant, "without "+tenant+" all is well")
	} else if mixed, err := g.otherMix(ctx, all, scene); err != nil {
		return err
	} else if mixed {
		f.blame(Traffic, "in this mix of routes so many are to be expected of routes that are as before")
	}
	return nil
}

// evidenceBegan is the tick from which on, up to when the gate began to fire, the
// requests were bad beyond the limit, and beyond half of what they were over the
// whole window. A single bad one of a few before it, by luck, is no beginning: where
// there is little traffic it is over the limit as well.
func (g Gate) evidenceBegan(firing time.Time, counts Counts, scene Scene) time.Time {
	signal := g.Count(g, counts, scene)
	scene.Now = firing
	window := scene.window(g.For)
	ticks := counts.between(window.From, window.To)
	var all Ratio
	for _, tick := range ticks {
		all = all.add(signal.Of(tick.Subject))
	}
	usual := max(g.Limit, all.Value()/2)
	first, excess, most := -1, 0.0, 0.0
	for i, tick := range slices.Backward(ticks) {
		n, bad := signal.Of(tick.Subject)
		if excess += bad - usual*n; excess > most {
			first, most = i, excess
		}
	}
	return began(ticks, first, signal, window.From)
}

// began is the time of that tick, or of the next one with bad requests if it had a
// single one: one that went before an incident by luck is not told from it by its
// number.
func began(ticks []Tick, first int, signal Signal, otherwise time.Time) time.Time {
	if first < 0 {
		return otherwise
	}
	if _, bad := signal.Of(ticks[first].Subject); bad <= 1 {
		for _, tick := range ticks[first+1:] {
			if _, more := signal.Of(tick.Subject); more > 0 {
				return tick.At
			}
		}
	}
	return ticks[first].At
}

// suspicion is the evidence, in nats, from which on instances do not acquit their
// version: as good as the baseline they get there in one window of 20 at most.
// Below the limit they may be by luck alone, as bad as the one that is accused.
var suspicion = math.Log(20)

// worstPod names the one instance without which the gate is ok, "" when there is
// none or fewer than two others serve. Pending is too little to acquit the
// version: without a third of its requests any fault may be unproven.
func (g Gate) worstPod(counts Counts, scene Scene) string {
	signal := g.Count(g, counts, scene)
	window := scene.window(g.For)
	pods := map[string]Ratio{}
	for _, tick := range counts.between(window.From, window.To) {
		for name, tally := range tick.Pods {
			pods[name] = pods[name].add(signal.Of(tally))
		}
	}
	worst := ""
	for name, r := range pods {
		if r.Bad > pods[worst].Bad || r.Bad == pods[worst].Bad && name < worst {
			worst = name
		}
	}
	maps.DeleteFunc(pods, func(name string, r Ratio) bool { return name == worst || r.N == 0 })
	if len(pods) < othersServing || worst == "" {
		return ""
	}
	if !g.cleared(g.assess(signal, counts.without(worst), scene)) {
		return ""
	}
	return worst
}

// cleared says whether the instances that are left are ok beyond suspicion: no worse
// than the baseline, or else below the limit beyond luck. That they are no worse is
// asked at each tick for as long as the one that is accused goes on, so that luck would
// convict them in the end; a limit that they are clearly below they do not reach by luck.
func (g Gate) cleared(rest Assessment) bool {
	below := rest.Window.N * divergence(1-rest.Window.Value(), 1-g.Limit)
	return rest.State == OK && (rest.Guard < suspicion || below >= suspicion)
}

// without leaves one instance out of the subject.
func (c Counts) without(pod string) Counts {
	ticks := make([]Tick, len(c.Ticks))
	for i, t := range c.Ticks {
		if tally, ok := t.Pods[pod]; ok {
			t.Subject = t.Subject.add(tally, -1)
		}
		ticks[i] = t
	}
	c.Ticks = ticks
	return c
}
