package alerts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/collector"
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
	Applies:  func(s *Service) bool { return s.Health.URL != "" || hasMetrics(s) },
	Eval:     evalTargetDown,
	alertQL: func(_ Gate, s *Service) string {
		return strings.Join(answers(s), " == 0\nor\n") + " == 0"
	},
	drawQL: func(_ Gate, s *Service) string { return strings.Join(answers(s), " or ") },
}

// healthyMetric is 0 when a health endpoint answers that the service is not well.
const healthyMetric = "rollwatch_http_healthy"

// othersServing is how many other instances must serve before the fault of one
// is its own.
const othersServing = 2

// A lamp is one thing that says whether the version answers: its health
// endpoint, or the scrape of one instance.
type lamp struct {
	name    string
	points  []collector.Point // 1 well, 0 not
	fresh   bool
	failing time.Time // since when it fails without a break; zero while it is well
}

// lit makes a lamp of what was read up to scene.Now.
func lit(name string, points []collector.Point, scene Scene) lamp {
	last := time.UnixMilli(points[len(points)-1].T)
	return lamp{
		name: name, points: points, failing: failingSince(points),
		fresh: scene.Now.Sub(last) <= staleAfter(scene.Interval),
	}
}

// lamps are everything that tells whether the version answers.
type lamps struct {
	health    []lamp // one, or none
	instances []lamp // the scrapes of what is judged
	control   []lamp // the scrapes of what it is compared with
}

func evalTargetDown(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	all, err := gatherLamps(ctx, scene)
	if err != nil {
		return Finding{}, err
	}
	f := gate.finding(OK)
	limit := gate.For.Seconds()
	f.Limit, f.Window, f.Since = &limit, short(gate.For), scene.EvidenceFrom()
	f.Query, f.Evidence = gate.query(scene.Service), &Evidence{Method: "consecutive"}
	f.observed(times(all.series()), scene)

	judged := slices.Concat(all.health, all.instances)
	failing := slices.DeleteFunc(slices.Clone(judged), func(l lamp) bool { return !l.fresh || l.failing.IsZero() })
	fresh := slices.ContainsFunc(judged, func(l lamp) bool { return l.fresh })
	switch {
	case len(judged) == 0:
		f.State, f.Message = NoSeries, "neither its health nor a scrape was read since the rollout started"
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
	longest := failing[0]
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
	case !isFailing(all.health) && serving >= othersServing:
		f.blame(Pod, fmt.Sprintf("%d other instances serve", serving))
	}
	return nil
}

// gatherLamps reads what tells whether the version answers.
func gatherLamps(ctx context.Context, scene Scene) (lamps, error) {
	var all lamps
	health, err := gatherHealth(ctx, scene)
	if err != nil {
		return lamps{}, err
	}
	if len(health) > 0 {
		all.health = []lamp{lit("health", health, scene)}
	}
	span := scene.underRollout()
	ups, err := scene.Window.Select(ctx, span.From, span.To, equal(model.MetricNameLabel, scrapeUp), equal("job", scene.Service.Name))
	if err != nil {
		return lamps{}, fmt.Errorf("select %s: %w", scrapeUp, err)
	}
	told, err := tellArms(ctx, scene)
	if err != nil {
		return lamps{}, err
	}
	for _, up := range ups {
		l := lit("scrape of "+up.Labels.Get(model.InstanceLabel), up.Points, scene)
		if told.scrapes(up.Labels) {
			all.instances = append(all.instances, l)
		} else {
			all.control = append(all.control, l)
		}
	}
	return all, nil
}

// gatherHealth is 1 at each reading of the service's health that went well.
func gatherHealth(ctx context.Context, scene Scene) ([]collector.Point, error) {
	if scene.Service.Health.URL == "" {
		return nil, nil
	}
	span := scene.underRollout()
	name := []string{scene.Service.Name}
	ups, err := scene.probed(ctx, span, probeUp, []string{"http"}, name)
	if err != nil {
		return nil, err
	}
	said, err := scene.probed(ctx, span, healthyMetric, nil, name)
	if err != nil {
		return nil, err
	}
	ill := map[int64]bool{}
	for _, s := range said {
		for _, p := range s.Points {
			ill[p.T] = p.V == 0
		}
	}
	var points []collector.Point
	for _, s := range ups {
		for _, p := range s.Points {
			if ill[p.T] {
				p.V = 0
			}
			points = append(points, p)
		}
	}
	return points, nil
}

// series are the lamps of what is judged, as series.
func (l lamps) series() []collector.Series {
	var all []collector.Series
	for _, lamp := range slices.Concat(l.health, l.instances) {
		all = append(all, collector.Series{Points: lamp.points})
	}
	return all
}

// serving is how many instances of what is judged answer.
func (l lamps) serving() int {
	n := 0
	for _, lamp := range l.instances {
		if lamp.fresh && lamp.failing.IsZero() {
			n++
		}
	}
	return n
}

// controlDown says whether there is something to compare with and none of it answers.
func (l lamps) controlDown() bool {
	return len(l.control) > 0 && !slices.ContainsFunc(l.control, func(c lamp) bool { return c.failing.IsZero() || !c.fresh })
}

func isFailing(all []lamp) bool {
	return slices.ContainsFunc(all, func(l lamp) bool { return l.fresh && !l.failing.IsZero() })
}

// recovered is when the last lamp that had failed was well again, since if none had.
func recovered(all []lamp, since time.Time) time.Time {
	for _, l := range all {
		for i := len(l.points) - 2; i >= 0; i-- {
			if l.points[i].V == 0 {
				since = later(since, time.UnixMilli(l.points[i+1].T))
				break
			}
		}
	}
	return since
}

// answers are the expressions that are 0 while a service does not answer.
func answers(s *Service) []string {
	var all []string
	if s.Health.URL != "" {
		all = append(all, fmt.Sprintf("max(%s{kind=%q,target=%q})", probeUp, "http", s.Name),
			fmt.Sprintf("max(%s{target=%q})", healthyMetric, s.Name))
	}
	if hasMetrics(s) {
		all = append(all, fmt.Sprintf("max(%s{job=%q})", scrapeUp, s.Name))
	}
	return all
}
