package alerts

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
)

// byTenant says which of the largest units of tenants a series is about, "" when it
// tells none; nil when the service has none.
func (s *Service) byTenant() func(labels.Labels) string {
	names := s.tenantLabels()
	if len(names) == 0 {
		return nil
	}
	return func(l labels.Labels) string { return l.Get(names[0]) }
}

// worst names the tenant with the most bad ones, "" when there is none, or when fewer
// than two others were served.
func worst(sums map[string]*twoArms, sides []Side) string {
	bad, serving := map[string]float64{}, 0
	for name, sum := range sums {
		n := 0.0
		for _, side := range sides {
			all, some := side.Of(sum.subject)
			n += all
			bad[name] += some
		}
		if n > 0 {
			serving++
		}
	}
	delete(bad, "") // what tells no tenant
	if len(bad) == 0 || serving <= othersServing {
		return ""
	}
	return slices.MinFunc(slices.Collect(maps.Keys(bad)), func(a, b string) int {
		return cmp.Or(cmp.Compare(bad[b], bad[a]), cmp.Compare(a, b))
	})
}

// worstTenant names the one tenant without whom the gate is ok, "" when there is none.
// As of an instance, pending is too little to acquit the version, and so are a few
// requests of the others.
func (g Gate) worstTenant(all gathered, scene Scene) string {
	key := scene.Service.byTenant()
	if key == nil {
		return ""
	}
	edges := all.edges(all.told)
	signal := g.Count(g, Counts{Edges: edges, Why: ""}, scene)
	if signal.Missing != "" {
		return ""
	}
	tenant := worst(all.sums(all.told, edges, scene.window(g.For), key), []Side{{Of: signal.Of}})
	if tenant == "" || !g.acquits(all.counts(all.without(tenant, scene)), scene) {
		return ""
	}
	return tenant
}

// acquits says whether the gate is ok on what is left of the counts, and raises no
// suspicion there.
func (g Gate) acquits(rest Counts, scene Scene) bool {
	a := g.Assess(rest, scene)
	return a.State == OK && a.Guard < suspicion && a.Window.N >= scene.Policy.MinRequests
}

// without are the arms with one tenant left out of both.
func (g gathered) without(tenant string, scene Scene) arms {
	told := g.told
	told.without = Labels{scene.Service.tenantLabels()[0]: tenant}
	return told
}

// worstOfTenants names the one tenant without whom nothing is suspected of the new
// version beside the old one, "" when there is none.
func (g Gate) worstOfTenants(all gathered, scene Scene) string {
	key := scene.Service.byTenant()
	if key == nil {
		return ""
	}
	edges := all.edges(all.told)
	c := g.Compare(Counts{Edges: edges})
	tenant := worst(all.sums(all.told, edges, scene.compared(), key), c.Sides)
	if tenant == "" {
		return ""
	}
	counts := all.counts(all.without(tenant, scene))
	c = g.Compare(counts)
	e := newFold(c, scene).weigh(c.pairs(counts, scene))
	if e.logE >= suspicion || e.sum[e.worst].Exposure < scene.Policy.MinRequests {
		return ""
	}
	return tenant
}
