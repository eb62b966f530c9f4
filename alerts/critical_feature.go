package alerts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/feature"
)

// criticalFeature finds a feature that broke for a tenant under the rollout.
// One tenant is enough: an average over all of them would hide it.
var criticalFeature = Gate{
	Name:     "critical_feature",
	Help:     "a feature fails twice in a row for a tenant for whom it worked before",
	Summary:  "A critical feature is broken for a tenant.",
	From:     fromProbes,
	Mode:     Enforce,
	Unit:     "tenants",
	impact:   "tenants of %s cannot use it",
	Required: true,
	Applies:  func(s *Service) bool { return len(s.Features) > 0 },
	Eval:     evalCriticalFeature,
	alertQL: func(_ Gate, s *Service) string {
		return fmt.Sprintf("count(%s{target=~%q} >= %d) > 0", feature.FailuresMetric, s.Name+"/.+", inARow)
	},
	drawQL: func(_ Gate, s *Service) string {
		return fmt.Sprintf(`sum by (target) (%s{target=~%q,state="broken"})`, feature.TenantsMetric, s.Name+"/.+")
	},
}

// inARow is how many tries in a row must fail: once may be a pod that left.
const inARow = 2

// workedWithin is how long before the rollout the feature must have worked: of a
// tenant who is tried more seldom it is not known what broke it.
const workedWithin = time.Hour

// A breakage is a feature that fails for one tenant.
type breakage struct {
	feature, tenant string
	failures        float64
	since           time.Time // the first failure in a row
	worked          time.Time // the last time it worked; zero when unknown
}

func (b breakage) String() string {
	whom := ""
	if b.tenant != "" {
		whom = " for " + b.tenant
	}
	return fmt.Sprintf("%s fails%s since %s, %g times in a row", b.feature, whom, clock(b.since), b.failures)
}

// underRollout says whether the rollout broke it: it worked not long before, and
// first failed since. An override makes the evidence before it void.
func (b breakage) underRollout(scene Scene) bool {
	return !b.worked.IsZero() && b.since.After(scene.EvidenceFrom()) && b.worked.After(scene.Subject.StartedAt.Add(-workedWithin))
}

func evalCriticalFeature(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	targets := make([]string, len(scene.Service.Features))
	for i, f := range scene.Service.Features {
		targets[i] = f.TargetName()
	}
	seen, err := scene.probed(ctx, scene.underRollout(), feature.TenantsMetric, nil, targets)
	if err != nil {
		return Finding{}, err
	}
	f := gate.finding(OK)
	f.Since, f.Query, f.Evidence = scene.EvidenceFrom(), gate.query(scene.Service), &Evidence{Method: "consecutive"}
	f.Limit = new(0.0)
	f.observed(times(seen), scene)
	if missing := unreadFeature(seen, targets, scene); missing != "" {
		f.State, f.Message = Stale, missing+" was not tried since "+clock(f.LastSeen)
		if !f.Seen {
			f.State, f.Message = NoSeries, missing+" was not tried since the rollout started"
		}
		return f, nil
	}
	f.N = triedTenants(seen)
	f.Thin = f.N == 0
	broken, err := breakages(ctx, targets, newestReadings(seen), scene)
	if err != nil {
		return Finding{}, err
	}
	return f, gate.weighBroken(ctx, &f, broken, scene)
}

// unreadFeature names a feature of which nothing fresh is known, "" when there is none.
func unreadFeature(seen []collector.Series, targets []string, scene Scene) string {
	for _, target := range targets {
		own := slices.DeleteFunc(slices.Clone(seen), func(s collector.Series) bool { return s.Labels.Get("target") != target })
		if last := newest(own); last.IsZero() || scene.Now.Sub(last) > staleAfter(scene.Interval) {
			return target
		}
	}
	return ""
}

// newestReadings is when each target was read last, in Unix milliseconds: all
// series of a reading have one time.
func newestReadings(seen []collector.Series) map[string]int64 {
	at := map[string]int64{}
	for _, s := range seen {
		target := s.Labels.Get("target")
		at[target] = max(at[target], s.Points[len(s.Points)-1].T)
	}
	return at
}

// triedTenants is of how many tenants a result is known now, over all features.
func triedTenants(seen []collector.Series) float64 {
	n := 0.0
	for _, s := range seen {
		if s.Labels.Get("state") != "untried" {
			n += s.Points[len(s.Points)-1].V
		}
	}
	return n
}

// breakages are the tenants for whom a feature fails now, those that failed
// first at the front.
func breakages(ctx context.Context, targets []string, newest map[string]int64, scene Scene) ([]breakage, error) {
	lately := Span{From: scene.Now.Add(-staleAfter(scene.Interval)), To: scene.Now}
	byTenant := map[[2]string]*breakage{}
	for _, part := range []struct {
		metric string
		take   func(*breakage, float64)
	}{
		{feature.FailuresMetric, func(b *breakage, v float64) { b.failures = v }},
		{feature.FailingMetric, func(b *breakage, v float64) { b.since = unixSeconds(v) }},
		{feature.LastSuccessMetric, func(b *breakage, v float64) { b.worked = unixSeconds(v) }},
	} {
		series, err := scene.probed(ctx, lately, part.metric, nil, targets)
		if err != nil {
			return nil, err
		}
		for _, s := range series {
			// A tenant for whom it works again is in no newer reading.
			last := s.Points[len(s.Points)-1]
			if last.T < newest[s.Labels.Get("target")] {
				continue
			}
			key := [2]string{s.Labels.Get("target"), s.Labels.Get("tenant")}
			if byTenant[key] == nil {
				byTenant[key] = &breakage{feature: strings.TrimPrefix(key[0], scene.Service.Name+"/"), tenant: key[1]}
			}
			part.take(byTenant[key], last.V)
		}
	}
	var all []breakage
	for _, b := range byTenant {
		if b.failures >= inARow {
			all = append(all, *b)
		}
	}
	if err := recallWorked(ctx, all, targets, scene); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b breakage) int {
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		return strings.Compare(a.feature+"\xff"+a.tenant, b.feature+"\xff"+b.tenant)
	})
	return all, nil
}

func unixSeconds(v float64) time.Time { return time.UnixMilli(int64(v * 1000)) }

// weighBroken decides what broken features mean: those that the rollout broke
// fire, those that were broken before are said.
func (g Gate) weighBroken(ctx context.Context, f *Finding, broken []breakage, scene Scene) error {
	ours := slices.DeleteFunc(slices.Clone(broken), func(b breakage) bool { return !b.underRollout(scene) })
	observed := float64(len(ours))
	f.Observed = &observed
	switch {
	case len(ours) == 0 && len(broken) > 0:
		f.Message = fmt.Sprintf("broken before the rollout, or not known to have worked: %s", broken[0])
		return nil
	case len(ours) == 0:
		f.Message = fmt.Sprintf("every feature works for the %.0f tenants tried", f.N)
		return nil
	}
	first := ours[0]
	f.State, f.Since, f.Message = Firing, first.since, first.String()+", and worked at "+clock(first.worked)
	if more := len(ours) - 1; more > 0 {
		f.Message += fmt.Sprintf("; and %d more", more)
	}
	if first.tenant != "" {
		f.Scope = map[string]string{"tenant": first.tenant}
	}
	down, err := dependencyDown(ctx, scene, first.since)
	if err != nil {
		return err
	}
	if down != "" {
		f.blame(Dependency, down+" was down when it began")
	}
	return nil
}
