package alerts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// targetDown finds a version that does not answer. That one never answered at
// all is evidence, not absence.
var targetDown = Gate{
	Name:     "target_down",
	Help:     "the health or the scrape of the version refuses or fails without a break after the grace",
	Summary:  "A service does not answer.",
	From:     fromProbes,
	Mode:     Enforce,
	Unit:     "seconds",
	For:      time.Minute,
	Required: true,
	Applies:  func(s *Service) bool { return s.Health.URL != "" || isScraped(s) },
	Eval:     evalTargetDown,
	alertQL: func(_ Gate, s *Service) string {
		return strings.Join(answers(s), " == 0\nor\n") + " == 0"
	},
	drawQL: observedQL,
}

// healthyMetric is 0 when a health endpoint answers that the service is not well.
const healthyMetric = "rollwatch_http_healthy"

// othersServing is how many other instances must serve before the fault of one
// is its own.
const othersServing = 2

func evalTargetDown(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	all, err := gatherLamps(ctx, scene)
	if err != nil {
		return Finding{}, err
	}
	f := gate.finding(OK)
	limit := gate.For.Seconds()
	f.Limit, f.Window, f.Since = &limit, short(gate.For), scene.EvidenceFrom()
	f.Query, f.Evidence = gate.query(scene.Service), &Evidence{Method: "consecutive"}
	judged := all.judged()
	f.observed(times(seriesOf(judged)), scene)
	failing := slices.DeleteFunc(slices.Clone(judged), func(l lamp) bool { return !l.fresh || l.failing.IsZero() })
	fresh := slices.ContainsFunc(judged, func(l lamp) bool { return l.fresh })
	switch {
	case len(judged) == 0:
		f.State, f.Message = NoSeries, "neither its health nor a scrape was read since the rollout started"
		if all.others {
			f.Message = "what answers where the canary is, is another version"
		}
		return f, nil
	case !fresh:
		f.State, f.Since = Stale, f.LastSeen.Add(staleAfter(scene.Interval))
		f.Message = "neither its health nor a scrape was read since " + clock(f.LastSeen)
		return f, nil
	case len(failing) == 0:
		f.Observed, f.Since = new(0.0), recovered(judged, f.Since)
		f.Message = "it answers"
		return f, nil
	}
	err = gate.weighFailing(ctx, &f, all, failing, scene)
	return f, err
}

// weighFailing decides what lamps that are out mean.
func (g Gate) weighFailing(ctx context.Context, f *Finding, all lamps, failing []lamp, scene Scene) error {
	slices.SortFunc(failing, func(a, b lamp) int { return a.failing.Compare(b.failing) })
	longest := g.decisive(failing, scene)
	f.Since = longest.failing
	lasted := scene.Now.Sub(longest.failing).Seconds()
	f.Observed, f.N = &lasted, float64(len(longest.points))
	names := make([]string, len(failing))
	for i, l := range failing {
		names[i] = l.name
	}
	f.Message = fmt.Sprintf("%s failing for %s", strings.Join(names, ", "), time.Duration(lasted*1e9).Round(time.Second))
	switch counted := scene.Now.Sub(later(longest.failing, scene.warm())); {
	case scene.warmingUp():
		f.State = WarmingUp
		return nil
	case counted < g.For:
		f.State = Pending
		return nil
	}
	f.State = Firing
	// The state began when it had lasted long enough, the evidence before.
	began := longest.failing
	f.Since = later(began, scene.warm()).Add(g.For)
	down, err := dependencyDown(ctx, scene, began)
	if err != nil {
		return err
	}
	switch serving := all.serving(); {
	case down != "":
		f.blame(Dependency, down+" was down when it began")
	case all.controlDown():
		f.blame(Dependency, "the stable instances do not answer either")
	case longest.excuse != "":
		f.blame(Pod, longest.excuse)
	case !isFailing(all.health) && serving >= othersServing:
		f.blame(Pod, fmt.Sprintf("%d other instances serve", serving))
	}
	return nil
}

// decisive is the lamp that decides: the one that is out longest of those that
// only the version can have put out, once that is long enough, else of all.
func (g Gate) decisive(failing []lamp, scene Scene) lamp {
	for _, l := range failing {
		if l.excuse == "" && scene.Now.Sub(later(l.failing, scene.warm())) >= g.For {
			return l
		}
	}
	return failing[0]
}

// answers are the expressions that are 0 while a service does not answer.
func answers(s *Service) []string {
	var all []string
	if s.Health.URL != "" {
		all = append(all, fmt.Sprintf("max(%s{kind=%q,target=%q})", probeUp, "http", s.Name),
			fmt.Sprintf("max(%s{target=%q})", healthyMetric, s.Name))
	}
	if isScraped(s) {
		all = append(all, fmt.Sprintf("max(%s{job=%q})", scrapeUp, s.Name))
	}
	return all
}
