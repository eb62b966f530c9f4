package alerts

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A population is what tenants are sent and answered in a minute.
type population struct {
	hierarchy []string
	canary    float64 // the new version's part of the traffic, while the old one serves beside it; 0: it serves alone
	of        func(tenant int) (path TenantPath, perMinute float64)
	before    func(tenant int) float64                      // share of errors
	under     func(tenant, minute int) (fresh, old float64) // under the rollout
	size      int
}

// hundred are a hundred tenants of whom the smallest ten have 0.5 % of the traffic
// each, all as good as each other.
func hundred() population {
	return population{
		size:   100,
		of:     func(i int) (TenantPath, float64) { return PathOf(fmt.Sprintf("t%02d", i)), 12 },
		before: func(int) float64 { return 0.002 },
		under:  func(int, int) (float64, float64) { return 0.002, 0.002 },
	}
}

// broken makes one tenant's requests fail from a minute on.
func (p population) broken(tenant, from int, share float64) population {
	under := p.under
	p.under = func(i, minute int) (float64, float64) {
		fresh, old := under(i, minute)
		if i == tenant && minute >= from {
			fresh = share
		}
		return fresh, old
	}
	return p
}

func (p population) counts(random *rand.Rand, minutes int) TenantCounts {
	c := TenantCounts{Before: map[TenantPath]Ratio{}, Hours: 1}
	answered := func(mean, share float64) Ratio {
		bad := draw(random, mean*share)
		return Ratio{N: bad + draw(random, mean*(1-share)), Bad: bad}
	}
	for i := range p.size {
		path, rate := p.of(i)
		if share := p.before(i); !math.IsNaN(share) {
			c.Before[path] = answered(60*rate, share)
		}
	}
	part := p.canary
	if part == 0 {
		part = 1
	}
	for minute := range minutes {
		m := TenantMinute{}
		for i := range p.size {
			path, rate := p.of(i)
			fresh, old := p.under(i, minute)
			m[path] = &TenantTally{New: answered(part*rate, fresh), Old: answered((1-part)*rate, old)}
		}
		c.Minutes = append(c.Minutes, m)
	}
	return c
}

// tenantScene is the scene of simulated tenants, so many minutes after the start.
func tenantScene(minutes int, hierarchy ...string) Scene {
	service := apiService()
	if service.TenantLabel = "tenant"; len(hierarchy) > 0 {
		service.TenantLabel, service.TenantLabels = "", hierarchy
	}
	return Scene{
		Service: service, Subject: Subject{Service: "api", Version: "2", Strategy: Rolling, StartedAt: time.Unix(0, 0)},
		Now: time.Unix(int64(minutes)*60+30, 0), Interval: interval, Grace: time.Minute, Policy: Policy{MinRequests: 100},
	}
}

// judged is the first finding that fires, after so many minutes, or the last.
func (p population) judged(random *rand.Rand, minutes int) (f Finding, after int) {
	counts := p.counts(random, minutes)
	b := newBook(counts.Before, counts.Hours, Policy{MinRequests: 100})
	for i, minute := range counts.Minutes {
		b.observe(minute)
		scene := tenantScene(i+1, p.hierarchy...)
		until := scene.Subject.StartedAt.Add(time.Duration(i+1) * time.Minute)
		f, _ = tenantErrors.judgeTenants(b, tenantView{until: until, times: []time.Time{until}, seen: true}, scene)
		if f.State == Firing {
			return f, i + 1
		}
	}
	return f, 0
}

func TestATenantWhoseRequestsFailRollsBackHoweverSmallItIs(t *testing.T) {
	halfOfTraffic := func(p population) population {
		p.of = func(i int) (TenantPath, float64) {
			if i == 0 {
				return PathOf("t00"), 6 // 0.5 % of 20 requests a second
			}
			return PathOf(fmt.Sprintf("t%02d", i)), 12
		}
		return p
	}
	canary := halfOfTraffic(hundred())
	canary.canary = 0.1
	for name, c := range map[string]struct {
		p     population
		by    int // minutes; 0: never
		often int // of 10
	}{
		"all of its requests":                           {halfOfTraffic(hundred()).broken(0, 0, 1), 5, 10},
		"all of them, from half an hour on":             {halfOfTraffic(hundred()).broken(0, 30, 1), 36, 10},
		"every third":                                   {halfOfTraffic(hundred()).broken(0, 0, 1.0/3), 40, 9},
		"all on a canary of ten percent":                {canary.broken(0, 0, 1), 15, 9},
		"twice as many as before, in two hours":         {hundred().broken(3, 0, 0.004), 0, 10},
		"nothing, for a hundred tenants over two hours": {hundred(), 0, 10},
		"nothing, beside a canary of ten percent":       {func() population { p := hundred(); p.canary = 0.1; return p }(), 0, 10},
		"a burst of a minute, which passes":             {blip(hundred(), 10, 1), 0, 10},
	} {
		t.Run(name, func(t *testing.T) {
			right := 0
			for seed := range uint64(10) {
				minutes := 120
				if c.by > 0 {
					minutes = c.by
				}
				f, after := c.p.judged(rand.New(rand.NewPCG(seed, 5)), minutes)
				if (c.by == 0) == (after == 0) {
					right++
				} else if c.by == 0 {
					t.Log(seed, after, f.Message)
				}
			}
			require.GreaterOrEqual(t, right, c.often)
		})
	}
}

// blip makes everything of one tenant fail for some minutes.
func blip(p population, from, length int) population {
	under := p.under
	p.under = func(i, minute int) (float64, float64) {
		if i == 1 && minute >= from && minute < from+length {
			return 1, 1
		}
		return under(i, minute)
	}
	return p
}

func TestATenantThatWasFailedBeforeDoesNotRollBack(t *testing.T) {
	brokenClient := hundred()
	brokenClient.before = func(i int) float64 { return map[bool]float64{true: 1, false: 0.002}[i == 7] }
	brokenClient.under = func(i, _ int) (float64, float64) {
		share := map[bool]float64{true: 1, false: 0.002}[i == 7]
		return share, share
	}
	half := hundred()
	half.before = func(i int) float64 { return 0.3 }
	half.under = func(int, int) (float64, float64) { return 0.3, 0.3 }
	rare := hundred() // tenants of whom little is known, and who differ
	rare.size = 500
	rare.of = func(i int) (TenantPath, float64) { return PathOf(fmt.Sprintf("t%04d", i)), 0.3 }
	rare.before = func(i int) float64 { return float64(i%10) / 20 }
	rare.under = func(i, _ int) (float64, float64) { return float64(i%10) / 20, float64(i%10) / 20 }
	for name, p := range map[string]population{"a broken client": brokenClient, "all of them": half, "many that differ": rare} {
		for _, part := range []float64{0, 0.1} {
			t.Run(fmt.Sprint(name, part), func(t *testing.T) {
				p.canary = part
				for seed := range uint64(3) {
					f, after := p.judged(rand.New(rand.NewPCG(seed, 6)), 60)
					require.Zero(t, after, f.Message)
				}
			})
		}
	}
}

func TestWhatTheOldVersionSuffersTooIsNotTheNewOnes(t *testing.T) {
	shared := hundred()
	shared.canary = 0.1
	shared.of = func(i int) (TenantPath, float64) { return PathOf(fmt.Sprintf("t%02d", i)), 4 } // often the new version alone has any
	shared.under = func(_, minute int) (float64, float64) {
		if minute >= 3 && minute < 12 {
			return 0.3, 0.3
		}
		return 0.002, 0.002
	}
	for seed := range uint64(5) {
		f, after := shared.judged(rand.New(rand.NewPCG(seed, 7)), 30)
		require.Zero(t, after, f.Message)
	}
	alone := shared
	alone.under = func(i, minute int) (float64, float64) {
		if minute < 3 {
			return 0.002, 0.002
		}
		return 1, 0.002
	}
	_, after := alone.judged(rand.New(rand.NewPCG(1, 7)), 60)
	require.NotZero(t, after, "the same, of the new version alone")
}

func TestNewTenantsAreWeighedAgainstAllThatWereKnown(t *testing.T) {
	arriving := func(failing ...int) population {
		p := hundred()
		p.before = func(i int) float64 {
			if i >= 95 {
				return math.NaN()
			}
			return 0.002
		}
		for _, i := range failing {
			p = p.broken(i, 0, 1)
		}
		return p
	}
	f, after := arriving().judged(rand.New(rand.NewPCG(1, 8)), 60)
	require.Zero(t, after, f.Message)
	require.Equal(t, OK, f.State)

	f, after = arriving(97).judged(rand.New(rand.NewPCG(1, 8)), 60)
	require.Zero(t, after, "a client that is broken from its first request is one")
	require.Equal(t, Pending, f.State)
	require.Contains(t, f.Message, "tenant t97: 5xx 100%")
	require.Contains(t, f.Message, "not known to have worked for it before")

	f, after = arriving(95, 97, 99).judged(rand.New(rand.NewPCG(1, 8)), 60)
	require.NotZero(t, after, "three are not")
	require.Contains(t, f.Message, "so do 3 of 100 tenants, with it t9")

	p := arriving()
	p = p.broken(96, 5, 1)
	f, after = p.judged(rand.New(rand.NewPCG(1, 8)), 60)
	require.NotZero(t, after, "it worked for five minutes")
	require.Equal(t, BaselineNone, f.Baseline.Kind)
}

func TestTheSmallestUnitThatHoldsAllTheEvidenceIsNamed(t *testing.T) {
	// Four companies of three workspaces of three domains.
	tree := hundred()
	tree.hierarchy = []string{"company", "workspace", "domain"}
	tree.size = 36
	tree.of = func(i int) (TenantPath, float64) {
		return PathOf(fmt.Sprintf("c%d", i/9), fmt.Sprintf("w%d", i/3%3), fmt.Sprintf("d%d", i%3)), 30
	}
	failing := func(is func(i int) bool) population {
		p := tree
		p.under = func(i, _ int) (float64, float64) {
			if is(i) {
				return 0.5, 0.5
			}
			return 0.002, 0.002
		}
		return p
	}
	for name, c := range map[string]struct {
		is    func(i int) bool
		scope map[string]string
		says  string
	}{
		"a domain":                     {func(i int) bool { return i == 13 }, map[string]string{"company": "c1", "workspace": "w1", "domain": "d1"}, "domain c1/w1/d1: 5xx"},
		"a workspace":                  {func(i int) bool { return i/3 == 4 }, map[string]string{"company": "c1", "workspace": "w1"}, "workspace c1/w1: 5xx"},
		"two domains":                  {func(i int) bool { return i == 9 || i == 13 }, map[string]string{"company": "c1"}, "company c1: 5xx"},
		"a company":                    {func(i int) bool { return i/9 == 1 }, map[string]string{"company": "c1"}, "company c1: 5xx"},
		"all of them":                  {func(int) bool { return true }, nil, "most tenants suffer (4 of 4), as company c"},
		"two domains of two companies": {func(i int) bool { return i == 13 || i == 31 }, nil, "; so do 2 of 4 tenants, with it c"},
	} {
		t.Run(name, func(t *testing.T) {
			counts := failing(c.is).counts(rand.New(rand.NewPCG(2, 9)), 12)
			f := tenantErrors.JudgeTenants(counts, tenantScene(12, tree.hierarchy...))
			require.Equal(t, Firing, f.State, f.Message)
			require.Equal(t, c.scope, f.Scope, f.Message)
			require.Contains(t, f.Message, c.says)
		})
	}
}

func TestWhatIsMissingOfTenantsIsSaid(t *testing.T) {
	counts := hundred().counts(rand.New(rand.NewPCG(1, 1)), 5)
	f := tenantErrors.JudgeTenants(counts, tenantScene(5))
	require.Equal(t, OK, f.State)
	require.Equal(t, 0.0, *f.Observed)
	require.InDelta(t, 1, f.Coverage, 0.01)
	require.True(t, f.Required)
	require.Regexp(t, `no tenant of 100 is failed more than before \(n=\d+\)`, f.Message)

	first := counts
	first.Before = nil
	f = tenantErrors.JudgeTenants(first, tenantScene(5))
	require.Equal(t, NoSeries, f.State)
	require.False(t, f.Required, "of a first rollout nobody can say")
	require.Contains(t, f.Message, "nothing to compare with")

	early := counts
	early.Minutes = nil
	f = tenantErrors.JudgeTenants(early, tenantScene(0))
	require.Equal(t, WarmingUp, f.State)

	idle := counts
	idle.Minutes = make([]TenantMinute, 5)
	f = tenantErrors.JudgeTenants(idle, tenantScene(5))
	require.Equal(t, NoTraffic, f.State)
}

// Tenants that are sent to the new version only have nothing beside them: an incident
// that all suffer would be theirs.
func TestAnIncidentIsNotTheVersionsThatATenantSticksTo(t *testing.T) {
	p := hundred()
	p.canary = 0.5
	p.under = func(_, minute int) (float64, float64) {
		if minute >= 3 && minute < 12 {
			return 0.3, 0.3
		}
		return 0.002, 0.002
	}
	counts := p.counts(rand.New(rand.NewPCG(1, 10)), 15)
	for _, minute := range counts.Minutes {
		for i := range 10 {
			tally := minute[PathOf(fmt.Sprintf("t%02d", i))]
			tally.New, tally.Old = tally.New.add(tally.Old.N, tally.Old.Bad), Ratio{}
		}
	}
	f := tenantErrors.JudgeTenants(counts, tenantScene(15))
	require.Equal(t, OK, f.State, f.Message)
	for _, minute := range counts.Minutes {
		for _, tally := range minute {
			tally.Old.Bad = 0
		}
	}
	f = tenantErrors.JudgeTenants(counts, tenantScene(15))
	require.Equal(t, Firing, f.State, "the same, of the new version alone")
}

func TestASmallPartThatSuffersTooIsNotLeftOut(t *testing.T) {
	p := hundred()
	p.hierarchy, p.size = []string{"company", "domain"}, 6
	p.of = func(i int) (TenantPath, float64) {
		return PathOf("acme", fmt.Sprintf("d%d", i)), map[bool]float64{true: 2, false: 300}[i == 5]
	}
	p.before = func(int) float64 { return 0.05 }
	p.under = func(i, _ int) (float64, float64) {
		share := map[int]float64{0: 0.5, 5: 1}[i]
		return max(share, 0.05), 0
	}
	counts := p.counts(rand.New(rand.NewPCG(1, 14)), 12)
	f := tenantErrors.JudgeTenants(counts, tenantScene(12, p.hierarchy...))
	require.Equal(t, Firing, f.State, f.Message)
	require.Equal(t, map[string]string{"company": "acme"}, f.Scope, "two of its domains suffer, of which one is hardly seen")
	p = p.broken(5, 0, 0.05)
	f = tenantErrors.JudgeTenants(p.counts(rand.New(rand.NewPCG(1, 14)), 12), tenantScene(12, p.hierarchy...))
	require.Equal(t, map[string]string{"company": "acme", "domain": "d0"}, f.Scope)
}
