package alerts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/alerts/sequential"
)

const (
	// routesTold is how many routes are told apart; where a path stands in place of a
	// route, their number knows no bound.
	routesTold = 200
	// mostlyTold is the part of the failures that must be on routes of which both sides
	// are known: a route that only the new version has acquits nobody.
	mostlyTold = 0.9
	// seldomAsked is how many requests, as bad as those to all routes, are added to what
	// is known of a route from before: what was asked a few times acquits nobody.
	seldomAsked = 100
)

// byRoute says which route a series is about, "" when it tells none; nil when nothing
// is known of routes.
func (s *Service) byRoute() func(labels.Labels) string {
	names := []string{s.RouteLabel}
	if s.RouteLabel == "" {
		if s.Metrics.Requests != "" {
			return nil
		}
		name := cmp.Or(s.Metrics.Preset, DefaultPreset)
		i := slices.IndexFunc(Presets, func(p Preset) bool { return p.Name == name })
		if i < 0 || len(Presets[i].Routes) == 0 {
			return nil
		}
		names = Presets[i].Routes
	}
	return func(l labels.Labels) string {
		for _, name := range names {
			if route := l.Get(name); route != "" {
				return route
			}
		}
		return ""
	}
}

// few tells the routes with the most requests apart, and takes the others together.
func few(key func(labels.Labels) string, sums map[string]*twoArms) func(labels.Labels) string {
	if len(sums) <= routesTold {
		return key
	}
	requests := func(name string) float64 { return sums[name].subject.Requests + sums[name].control.Requests }
	names := slices.SortedFunc(maps.Keys(sums), func(a, b string) int {
		return cmp.Or(cmp.Compare(requests(b), requests(a)), cmp.Compare(a, b))
	})
	told := map[string]bool{}
	for _, name := range names[:routesTold] {
		told[name] = true
	}
	return func(l labels.Labels) string {
		if route := key(l); told[route] {
			return route
		}
		return ""
	}
}

// otherMix says whether within routes the gate would not fire: whether so many bad ones
// are to be expected, up to luck, of routes that are as they were in the hour before the
// rollout and have the shares of the traffic that they have now.
func (g Gate) otherMix(ctx context.Context, all gathered, scene Scene) (bool, error) {
	key, spans := scene.Service.byRoute(), scene.Subject.Baseline.Spans
	if key == nil || len(spans) == 0 {
		return false, nil
	}
	r, err := readSeries(ctx, scene, spans[0])
	if err != nil {
		return false, fmt.Errorf("the routes before the rollout: %w", err)
	}
	edges := all.edges(all.told)
	signal := g.Count(g, Counts{Edges: edges}, scene)
	if signal.Missing != "" {
		return false, nil
	}
	now := all.sums(all.told, edges, scene.window(g.For), key)
	key = few(key, now)
	now = all.sums(all.told, edges, scene.window(g.For), key)
	whole, apart, ok := byRoutes(now, r.sums(arms{}, edges, spans[0], key), signal)
	return ok && apart < guardNeeded && whole-apart >= explained, nil
}

// byRoutes is the evidence that the new version is worse than before the rollout, over
// all and within routes; false when too many failures are on routes that were not there.
func byRoutes(now, before map[string]*twoArms, signal Signal) (whole, apart float64, ok bool) {
	if len(before) < 2 {
		return 0, 0, false
	}
	var is, was, usual Ratio
	for _, sum := range before {
		usual = usual.add(signal.Of(sum.subject))
	}
	var within besides
	unknown := 0.0
	for route, sum := range now {
		n, bad := signal.Of(sum.subject)
		is = is.add(n, bad)
		earlier := before[route]
		if earlier == nil {
			unknown += bad
			continue
		}
		then := Ratio{}.add(signal.Of(earlier.subject))
		if was = was.add(then.N, then.Bad); then.N == 0 {
			unknown += bad
		} else if n > 0 {
			within.add(Ratio{n, bad}, then.add(seldomAsked, seldomAsked*usual.Value()))
		}
	}
	if is.N == 0 || was.N == 0 || unknown > (1-mostlyTold)*is.Bad {
		return 0, 0, false
	}
	var all besides
	all.add(is, was)
	return all.evidence(), within.evidence(), true
}

// explained is the evidence, in nats, that routes must take away to be the reason.
const explained = 1

// sameWithinRoutes says whether route by route nothing is suspected of the new version
// beside the old one: what differs is which routes each is sent. Routes are compared
// by the minute, since in a tick few of them are seen on both sides.
func (g Gate) sameWithinRoutes(all gathered, scene Scene) bool {
	key := scene.Service.byRoute()
	if key == nil {
		return false
	}
	edges := all.edges(all.told)
	c := g.Compare(Counts{Edges: edges})
	key = few(key, all.sums(all.told, edges, scene.compared(), key))
	minutes := all.byMinute(edges, scene, key)
	test := c.testOf(excusedRisk, Scene{Interval: time.Minute})
	mixed, within := make([]float64, len(c.Sides)), make([]float64, len(c.Sides))
	var bad, told float64
	for i, side := range c.Sides {
		together, apart := test.Start(), test.Start()
		for _, routes := range minutes {
			sum, strata := strataOf(routes, side)
			together.Observe(sum)
			apart.Observe(strata...)
			for _, s := range strata {
				if bad += s.Events; s.ControlExposure > 0 {
					told += s.Events
				}
			}
		}
		mixed[i], within[i] = together.LogE(), apart.LogE()
	}
	// By the minute it may be less evidence as well: what routes explain must be theirs.
	whole, apart := sequential.Average(mixed...), sequential.Average(within...)
	return told >= mostlyTold*bad && apart < sequential.Needed(compareAlpha) && whole-apart >= explained
}

// byMinute are the sums by route of each minute in which versions are compared.
func (g gathered) byMinute(edges []float64, scene Scene, key func(labels.Labels) string) []map[string]*twoArms {
	span, length := scene.compared(), tenantMinute(scene)
	minutes := make([]map[string]*twoArms, span.To.Sub(span.From)/length+1)
	g.eachDelta(edges, span, func(at place, l labels.Labels, when time.Time, count func(*Tally)) {
		minute := &minutes[(when.Sub(span.From)-1)/length]
		if *minute == nil {
			*minute = map[string]*twoArms{}
		}
		name := key(l)
		if (*minute)[name] == nil {
			(*minute)[name] = &twoArms{}
		}
		count((*minute)[name].arm(at))
	})
	return minutes
}

// strataOf is what one side of a comparison shows in all routes, and in each.
func strataOf(routes map[string]*twoArms, side Side) (sum sequential.Tick, strata []sequential.Tick) {
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		var t sequential.Tick
		t.Exposure, t.Events = side.Of(routes[name].subject)
		t.ControlExposure, t.ControlEvents = side.Of(routes[name].control)
		t.Events, t.ControlEvents = max(0, t.Events), max(0, t.ControlEvents)
		sum.Events, sum.Exposure = sum.Events+t.Events, sum.Exposure+t.Exposure
		sum.ControlEvents, sum.ControlExposure = sum.ControlEvents+t.ControlEvents, sum.ControlExposure+t.ControlExposure
		strata = append(strata, t)
	}
	return sum, strata
}
