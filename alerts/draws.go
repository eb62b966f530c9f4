package alerts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// query is PromQL that draws what a gate observes that does not count.
func (g Gate) query(service *Service) string {
	if g.Custom != nil {
		return g.Custom.Signal
	}
	return g.drawQL(g, service)
}

// draws is PromQL that draws what the gate observes of the rollout, "" where it cannot
// be written: of a gate that counts the series that it judged, and no others.
func (g Gate) draws(scene Scene, scope Labels) string {
	if g.Count == nil {
		return g.query(scene.Service)
	}
	m, err := scene.Service.meter()
	if err != nil {
		return ""
	}
	judged, told := scope.matchers(labels.MatchEqual), armsOf(scene, false)
	if len(told.idle) == 1 { // what has not one of several labels is no selector
		judged = append(judged, told.idle.matchers(labels.MatchNotEqual)...)
	}
	for _, name := range slices.Sorted(maps.Keys(told.subject.unlessOther)) {
		judged = append(judged, oneOf(name, []string{"", told.subject.unlessOther[name]})) // "" is a label that is not there
	}
	for _, part := range []*[]*labels.Matcher{&m.requests, &m.errors, &m.buckets} {
		if len(*part) > 0 {
			*part = slices.Concat(*part, judged)
		}
	}
	parts := g.promQL(scene.Service, m)
	if le := scene.Subject.Baseline.LE; g.From == fromBuckets && le != "" {
		parts.ratio = m.slowerThan(le) // which is known of no other time than that of the rollout
	}
	return strings.Join(strings.Fields(parts.ratio(g.For, 0)), " ")
}

// matchers select by each of the labels, in order of their names.
func (want Labels) matchers(is labels.MatchType) []*labels.Matcher {
	all := make([]*labels.Matcher, 0, len(want))
	for _, name := range slices.Sorted(maps.Keys(want)) {
		all = append(all, labels.MustNewMatcher(is, name, want[name]))
	}
	return all
}

// slowerThan writes the share of requests that took longer than an edge.
func (m meter) slowerThan(le string) func(window, offset time.Duration) string {
	return func(window, offset time.Duration) string {
		return fmt.Sprintf("1 - %s\n/ %s", increase(selectorOf(m.buckets, equal("le", le)), window, offset),
			increase(selectorOf(m.buckets, equal("le", "+Inf")), window, offset))
	}
}
