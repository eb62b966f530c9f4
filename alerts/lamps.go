package alerts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/collector"
)

// A lamp is one thing that says whether the version answers: its health
// endpoint, or the scrape of one instance.
type lamp struct {
	name    string
	points  []collector.Point // 1 well, 0 not
	fresh   bool
	failing time.Time // since when it fails without a break; zero while it is well
	excuse  string    // why the version is not to blame for it; "" where it may be
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
	former    []lamp // the scrapes of instances that served other versions only, and are gone
	control   []lamp // the scrapes of what it is compared with
	replaced  bool   // an instance that is known to serve the version is well
	others    bool   // an instance where the canary is serves another version
}

// isWell says whether it is lit now.
func (l lamp) isWell() bool { return l.fresh && l.failing.IsZero() }

// judged are the lamps that may say that the version does not answer. What is
// left of the old version is no news once the new one answers in another place.
func (l lamps) judged() []lamp {
	judged := slices.Concat(l.health, l.instances)
	if !l.replaced {
		judged = append(judged, l.former...)
	}
	return judged
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
		all.sort(up, told, scene)
	}
	if told.tracked && len(all.health) > 0 {
		all.health[0].excuse = "that address does not tell the canary from stable"
	}
	return all, all.excuseIdle(ctx, scene)
}

// sort puts the scrape of an instance where it belongs.
func (l *lamps) sort(up collector.Series, told arms, scene Scene) {
	instance := up.Labels.Get(model.InstanceLabel)
	scrape := lit(scrapeName(up), up.Points, scene)
	switch {
	case told.isIdle(up.Labels):
	case told.tracked && told.servesOthers(up.Labels):
		l.others = true
	case !told.scrapes(up.Labels):
		l.control = append(l.control, scrape)
	case told.former[instance] && !scrape.isWell():
		scrape.excuse = "it served other versions only"
		l.former = append(l.former, scrape)
	default:
		l.instances = append(l.instances, scrape)
		l.replaced = l.replaced || told.ours[instance] && scrape.isWell()
	}
}

// excuseIdle excuses the version for addresses that never answered, not before
// the rollout either, while another one does: what is configured need not be in
// use. The address of a canary is not in use until there is one.
func (l *lamps) excuseIdle(ctx context.Context, scene Scene) error {
	answered := slices.ContainsFunc(slices.Concat(l.health, l.instances, l.control), lamp.isWell)
	if !answered || !isFailing(l.instances) || scene.Subject.judgesCanary() {
		return nil
	}
	ups, err := scene.Window.Select(ctx, time.Time{}, scene.Now, equal(model.MetricNameLabel, scrapeUp), equal("job", scene.Service.Name))
	if err != nil {
		return fmt.Errorf("select %s: %w", scrapeUp, err)
	}
	for _, up := range ups {
		first := time.UnixMilli(up.Points[0].T)
		if !first.Before(scene.Subject.StartedAt) || !failingSince(up.Points).Equal(first) {
			continue
		}
		for i := range l.instances {
			if l.instances[i].name == scrapeName(up) {
				l.instances[i].excuse = "it never answered, not before the rollout either, and others do"
			}
		}
	}
	return nil
}

// scrapeName is what the lamp of an instance is called.
func scrapeName(up collector.Series) string { return "scrape of " + up.Labels.Get(model.InstanceLabel) }

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

// seriesOf are lamps as series.
func seriesOf(lamps []lamp) []collector.Series {
	all := make([]collector.Series, len(lamps))
	for i, lamp := range lamps {
		all[i].Points = lamp.points
	}
	return all
}

// serving is how many instances of what is judged answer.
func (l lamps) serving() int {
	n := 0
	for _, lamp := range l.instances {
		if lamp.isWell() {
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
