package alerts

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/collector"
)

// ill are the units that the new version fails, one for each largest unit that holds
// some: the smallest that holds all the evidence. Those with the most failures come
// first. A unit that never worked counts from three of them on: one alone is rather a
// client that is broken from its first request.
func (b *book) ill() []*unit {
	proven := map[*unit]bool{}
	unworked := 0
	for _, u := range b.units {
		if u.since == 0 {
			continue
		}
		proven[u] = true
		if len(u.parts) == 0 && !u.worked() {
			unworked++
		}
	}
	if unworked < newcomers {
		maps.DeleteFunc(proven, func(u *unit, _ bool) bool { return !u.worked() })
	}
	holds := map[*unit]int{} // how many of them each unit holds, itself included
	roots := map[*unit]bool{}
	for u := range proven {
		top := u
		for at := u; at != nil; at = at.parent {
			holds[at]++
			top = at
		}
		roots[top] = true
	}
	var ill []*unit
	for root := range roots {
		ill = append(ill, b.smallest(root, proven, holds))
	}
	slices.SortFunc(ill, func(x, y *unit) int {
		return cmp.Or(cmp.Compare(y.total.New.Bad, x.total.New.Bad), cmp.Compare(x.name, y.name))
	})
	return ill
}

// smallest is the smallest unit within u that holds all the evidence: of what is left
// of the larger one without it nothing is proven, nor suspected.
func (b *book) smallest(u *unit, proven map[*unit]bool, holds map[*unit]int) *unit {
	for len(u.parts) > 0 {
		excess := func(part *unit) float64 { return part.total.New.Bad - b.usual(part)*part.total.New.N }
		worst := slices.MaxFunc(u.parts, func(x, y *unit) int {
			return cmp.Or(cmp.Compare(holds[x], holds[y]), cmp.Compare(excess(x), excess(y)), cmp.Compare(y.name, x.name))
		})
		others := holds[u] - holds[worst]
		if proven[u] {
			others--
		}
		rest := unit{before: u.before.sub(worst.before), total: TenantTally{u.total.New.sub(worst.total.New), u.total.Old.sub(worst.total.Old)}}
		if others > 0 || guard(rest.total.New, b.usual(&rest)) >= suspicion {
			break
		}
		u = worst
	}
	return u
}

func (r Ratio) sub(s Ratio) Ratio { return Ratio{N: r.N - s.N, Bad: r.Bad - s.Bad} }

// usual is the share of errors that would be usual for the unit: what it was before,
// or what the old version gives it beside the new one.
func (b *book) usual(u *unit) float64 {
	if u.before.N+u.total.Old.N < 2 {
		return max(b.pooled, errorRatio.Limit/2)
	}
	return leastFavourable(u.before, u.total.Old, 1)
}

// scope is what a finding about the unit alone is about.
func (u *unit) scope(judged Labels, names []string) map[string]string {
	scope := map[string]string{}
	maps.Copy(scope, judged)
	for i, value := range u.name.values() {
		scope[names[i]] = value
	}
	return scope
}

// attributeTenants finds what else than the version is to be blamed.
func attributeTenants(ctx context.Context, f *Finding, b *book, ill []*unit, scene Scene) error {
	down, err := dependencyDown(ctx, scene, b.timeOf(max(ill[0].began, 1), scene))
	if err != nil {
		return err
	}
	if down != "" {
		f.blame(Dependency, down+" was down when it began")
		return nil
	}
	f.Cause = Version
	pod, err := worstPodOf(ctx, b, ill[0], scene)
	if err == nil && pod != "" {
		f.blame(Pod, "without "+pod+" all is well")
	}
	return err
}

// worstPodOf names the one instance without which the unit does not suffer, "" when
// there is none, or when fewer than two others serve it.
func worstPodOf(ctx context.Context, b *book, u *unit, scene Scene) (string, error) {
	m, err := scene.Service.meter()
	if err != nil {
		return "", err
	}
	m.buckets = nil
	names := scene.Service.tenantLabels()
	for i, value := range u.name.values() {
		m.requests = append(slices.Clip(m.requests), equal(names[i], value))
		if len(m.errors) > 0 {
			m.errors = append(slices.Clip(m.errors), equal(names[i], value))
		}
	}
	span := scene.underRollout()
	r, err := readStretch(ctx, scene, m, Span{span.From.Add(-lookback * scene.Interval), span.To}, collector.NewCounter(scene.Interval))
	if err != nil {
		return "", err
	}
	told := armsOf(scene, slices.ContainsFunc(r.requests, func(s collector.Series) bool { return s.Labels.Get(scene.Service.VersionLabel) != "" }))
	pods := map[string]Ratio{}
	r.eachOfTenants(scene.Service, func(s collector.Series, _ func() TenantPath, d collector.Delta, n, bad float64) {
		if told.isSubject(s.Labels) && !d.Begin.Before(span.From) {
			name := s.Labels.Get(model.InstanceLabel)
			pods[name] = pods[name].add(n, bad)
		}
	})
	worst, rest, serving := "", Ratio{}, 0
	for name, pod := range pods {
		if worst == "" || pod.Bad > pods[worst].Bad || pod.Bad == pods[worst].Bad && name < worst {
			worst = name
		}
	}
	for name, pod := range pods {
		if name != worst && pod.N > 0 {
			rest, serving = rest.add(pod.N, pod.Bad), serving+1
		}
	}
	if serving < othersServing || guard(rest.whole(), b.usual(u)) >= suspicion {
		return "", nil
	}
	return worst, nil
}
