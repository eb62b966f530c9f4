package alerts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/collector"
)

// restless is an hour of a service before a rollout and so long after it, with all
// that happens to counters: resets, births, missed scrapes, pods that come and go.
func restless(t *testing.T, random *rand.Rand, after time.Duration) *collector.Memory {
	t.Helper()
	window := collector.NewMemory()
	end := started.Add(after)
	for pod := range 5 {
		version, from, to := "1", time.Unix(0, 0), started.Add(time.Duration(random.IntN(600))*time.Second)
		if pod > 1 {
			version, from, to = "2", started.Add(time.Duration(random.IntN(120)-10)*time.Second), end
		}
		offset := time.Duration(random.IntN(15000)) * time.Millisecond
		values := map[string]float64{}
		for at := from.Truncate(interval).Add(offset); at.Before(to); at = at.Add(interval) {
			switch random.IntN(40) {
			case 0:
				continue // a missed scrape
			case 1:
				clear(values) // the process started anew
			}
			instance := fmt.Sprintf("%d:1", pod)
			require.NoError(t, window.Append(at, labels.FromStrings(model.MetricNameLabel, "up", "job", "api", "instance", instance), 1))
			for tenant := range 6 {
				for _, status := range []string{"200", "500"} {
					key := fmt.Sprint(tenant, status)
					if random.IntN(3) > 0 || status == "500" && tenant != 2 && random.IntN(30) > 0 {
						if _, known := values[key]; !known {
							continue
						}
					} else {
						values[key] += float64(random.IntN(4))
					}
					l := labels.FromStrings(model.MetricNameLabel, "http_request_duration_seconds_count", "job", "api", "instance", instance,
						"status_code", status, "version", version, "company", strconv.Itoa(tenant/2), "domain", strconv.Itoa(tenant))
					require.NoError(t, window.Append(at, l, values[key]))
				}
			}
		}
	}
	return window
}

// What is kept between judgements is what would be read anew: the same finding, at
// each time, whatever was judged before and however much is read at once.
func TestAKeptFoldIsARebuiltOne(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 11))
		service := apiService()
		service.VersionLabel, service.TenantLabels = []string{"version", ""}[seed%2], []string{"company", "domain"}
		scene := Scene{
			Window: restless(t, random, 20*time.Minute), Service: service,
			Subject:  Subject{Service: "api", Version: "2", Strategy: Rolling, StartedAt: started},
			Now:      started,
			Interval: interval, Grace: time.Minute, Policy: Policy{MinRequests: 100}, Kept: &Kept{},
		}
		baseline, err := TakeBaseline(t.Context(), Gates(Config{}, service), scene, nil)
		require.NoError(t, err)
		scene.Subject.Baseline = baseline
		for at := time.Duration(0); at <= 20*time.Minute; at += time.Duration(1+random.IntN(30)) * 5 * time.Second {
			scene.Now = started.Add(at)
			kept, err := tenantErrors.Eval(t.Context(), tenantErrors, scene)
			require.NoError(t, err)
			anew := scene
			anew.Kept = nil
			rebuilt, err := tenantErrors.Eval(t.Context(), tenantErrors, anew)
			require.NoError(t, err)
			require.Equal(t, rebuilt, kept, "seed %d at %s", seed, at)
		}
		fresh := &tenantFold{}
		require.NoError(t, fresh.advance(t.Context(), scene))
		require.Equal(t, fresh.book, scene.Kept.tenants.book, "to the last figure")
		require.NotZero(t, fresh.book.total.New.N)
		require.NotZero(t, fresh.book.known)

		scene.After = started.Add(6 * time.Minute) // an override: what came before is no evidence
		kept, err := tenantErrors.Eval(t.Context(), tenantErrors, scene)
		require.NoError(t, err)
		scene.Kept = nil
		rebuilt, err := tenantErrors.Eval(t.Context(), tenantErrors, scene)
		require.NoError(t, err)
		require.Equal(t, rebuilt, kept)
	}
}

// brokenWindow fails after so many reads.
type brokenWindow struct {
	collector.Window
	left int
	err  error // nil: any
}

func (w *brokenWindow) Select(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]collector.Series, error) {
	if w.left--; w.left < 0 {
		return nil, cmp.Or(w.err, errors.New("the window is gone"))
	}
	return w.Window.Select(ctx, from, to, matchers...)
}

// restlessScene is a rollout that is 20 minutes old, and as long a time before it.
func restlessScene(t *testing.T) (whole collector.Window, scene Scene) {
	t.Helper()
	service := apiService()
	service.TenantLabel = "domain"
	whole = restless(t, rand.New(rand.NewPCG(1, 12)), 20*time.Minute)
	return whole, Scene{
		Service: service, Now: started.Add(20 * time.Minute), Interval: interval, Policy: Policy{MinRequests: 100}, Kept: &Kept{},
		Subject: Subject{Service: "api", Version: "2", Strategy: Rolling, StartedAt: started, Baseline: Baseline{Spans: []Span{{started.Add(-20 * time.Minute), started}}}},
	}
}

func TestAnInterruptedRebuildGoesOnWhereItWas(t *testing.T) {
	whole, scene := restlessScene(t)
	tries := 0
	for ; tries < 100; tries++ {
		scene.Window = &brokenWindow{Window: whole, left: min(7, tries)}
		if _, err := tenantErrors.Eval(t.Context(), tenantErrors, scene); err == nil {
			break
		}
	}
	require.Greater(t, tries, 3)
	require.Less(t, tries, 100, "each try goes on")
	fresh := &tenantFold{}
	scene.Window = whole
	require.NoError(t, fresh.advance(t.Context(), scene))
	require.Equal(t, fresh.book, scene.Kept.tenants.book)
}

// Reading what a hundred thousand tenants were before takes longer than a judgement
// has: what the others find of the version cannot wait for it.
func TestManyTenantsKeepNoOtherGateWaiting(t *testing.T) {
	whole, scene := restlessScene(t)
	gates := []Gate{tenantErrors, outage}
	tries := 0
	for state := WarmingUp; state == WarmingUp; tries++ {
		require.Less(t, tries, 100, "each judgement goes on")
		scene.Window = &brokenWindow{Window: whole, left: 14, err: fmt.Errorf("read the window: %w", context.DeadlineExceeded)}
		found, err := Evaluate(t.Context(), gates, scene)
		require.NoError(t, err)
		require.Equal(t, "outage", found[1].Gate)
		require.False(t, found[1].State.Missing(), found[1].Message)
		if state = found[0].State; state == WarmingUp {
			require.Contains(t, found[0].Message, "there are many tenants: ")
			require.True(t, found[0].Required, "nothing is promoted before")
		}
	}
	require.Greater(t, tries, 3)
	fresh := &tenantFold{}
	scene.Window = whole
	require.NoError(t, fresh.advance(t.Context(), scene))
	require.Equal(t, fresh.book, scene.Kept.tenants.book, "however little is read at once")
}

// manyTenants is the embedded window with a series of each tenant, ten minutes before a
// rollout and some after it.
func manyTenants(b *testing.B, tenants int, begin, end time.Time) collector.Window {
	b.Helper()
	store, err := collector.Open(b.TempDir(), collector.DefaultConfig(), zap.NewNop())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	random := rand.New(rand.NewPCG(1, 13))
	series, values := make([]labels.Labels, tenants), make([]float64, tenants)
	for i := range series {
		series[i] = labels.FromStrings(model.MetricNameLabel, "http_request_duration_seconds_count", "job", "api", "instance", fmt.Sprintf("%d:1", i%10),
			"route", "/orders", "method", "GET", "status_code", "200", "tenant", "tenant-"+strconv.Itoa(i))
	}
	for at := begin; !at.After(end); at = at.Add(interval) {
		batch := store.AppenderV2(b.Context())
		for i, l := range series {
			_, err := batch.Append(0, l, 0, at.UnixMilli(), values[i], nil, nil, storage.AppendV2Options{})
			require.NoError(b, err)
			values[i] += float64(random.IntN(3))
		}
		for i := range 10 {
			up := labels.FromStrings(model.MetricNameLabel, scrapeUp, "job", "api", "instance", fmt.Sprintf("%d:1", i))
			_, err := batch.Append(0, up, 0, at.UnixMilli(), 1, nil, nil, storage.AppendV2Options{})
			require.NoError(b, err)
		}
		require.NoError(b, batch.Commit())
	}
	return store
}

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// One judgement that finds one more minute over, of tenants who all had requests in it.
func BenchmarkTenants(b *testing.B) {
	for _, tenants := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(tenants), func(b *testing.B) {
			begin, after := time.Unix(0, 0), 3*time.Minute
			at := begin.Add(10 * time.Minute)
			scene := Scene{
				Window: manyTenants(b, tenants, begin, at.Add(after+2*time.Minute)), Service: apiService(), Interval: interval,
				Policy:  Policy{MinRequests: 100},
				Subject: Subject{Service: "api", Version: "2", Strategy: Rolling, StartedAt: at, Baseline: Baseline{Spans: []Span{{begin, at}}}},
			}
			scene.Service.TenantLabel = "tenant"
			judge := func() {
				_, err := tenantErrors.Eval(b.Context(), tenantErrors, scene)
				require.NoError(b, err)
			}
			var used, read time.Duration
			var kept uint64
			for b.Loop() {
				b.StopTimer()
				scene.Kept = nil
				empty := heap()
				scene.Kept, scene.Now = &Kept{}, at.Add(after+interval)
				judge()
				kept = heap() - empty
				scene.Now = scene.Now.Add(interval) // one more minute is over
				before := processorTime()
				b.StartTimer()
				judge()
				used += processorTime() - before
				b.StopTimer()
				before = processorTime()
				_, err := scene.Window.Select(b.Context(), scene.Now.Add(-90*time.Second), scene.Now.Add(-30*time.Second), equal("job", "api"))
				require.NoError(b, err)
				read += processorTime() - before
				b.StartTimer()
			}
			b.ReportMetric(used.Seconds()/read.Seconds(), "x-read")
			b.ReportMetric(float64(kept)/1e6, "kept-MB")
			b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// What was counted across the start is of neither side, as for all gates on counts.
func TestWhatCameBeforeTheRolloutIsNoEvidenceOnTenants(t *testing.T) {
	service := apiService()
	service.TenantLabel = "tenant"
	scene := sceneOf(t, service, 0, map[string]string{requests("200", `tenant="acme"`): values([2]float64{10, hour + 80})})
	scene.Subject.StartedAt = started.Add(5 * time.Second)
	scene = withBaseline(t, scene)
	scene.Now = scene.Subject.StartedAt.Add(2*time.Minute + 35*time.Second)
	fold := &tenantFold{}
	require.NoError(t, fold.advance(t.Context(), scene))
	require.Equal(t, 70.0, fold.book.total.New.N, "of seven scrapes in two minutes, the eighth began before")
	require.Equal(t, 2390.0, fold.book.units["acme"].before.N, "of the hour before")
}

// Tenants name themselves. One that holds the separator of paths is a tenant like
// another, and no part of the one before the separator.
func TestTheNameOfATenantIsNoPath(t *testing.T) {
	service := apiService()
	service.VersionLabel, service.TenantLabel = "version", "tenant"
	window := collector.NewMemory()
	for at, n := started.Add(-time.Hour), 0.0; at.Before(started.Add(10 * time.Minute)); at, n = at.Add(interval), n+5 {
		for _, tenant := range []string{"acme", "acme\x1fwest", "globex"} {
			for version, failing := range map[string]bool{"1": false, "2": tenant == "acme\x1fwest"} {
				if version == "2" && at.Before(started) {
					continue
				}
				status := map[bool]string{true: "500", false: "200"}[failing]
				require.NoError(t, window.Append(at, labels.FromStrings(model.MetricNameLabel, "http_request_duration_seconds_count", "job", "api",
					"instance", version+":1", "status_code", status, "version", version, "tenant", tenant), n))
			}
		}
	}
	scene := Scene{
		Window: window, Service: service, Now: started.Add(8 * time.Minute), Interval: interval, Policy: Policy{MinRequests: 100}, Kept: &Kept{},
		Subject: Subject{Service: "api", Version: "2", Strategy: Canary, StartedAt: started, Baseline: Baseline{Spans: []Span{{started.Add(-time.Hour), started}}}},
	}
	f, err := tenantErrors.Eval(t.Context(), tenantErrors, scene)
	require.NoError(t, err)
	require.Equal(t, Firing, f.State, f.Message)
	require.Equal(t, "acme\uFFFDwest", f.Scope["tenant"])
	require.Empty(t, scene.Kept.tenants.book.units["acme"].parts)
}

func TestTheNameOfATenantIsShownInBounds(t *testing.T) {
	require.Equal(t, "acme/eu/example.com", PathOf("acme", "eu", "example.com").String())
	require.Equal(t, "a\uFFFD[2Jb\uFFFDc", PathOf("a\x1b[2Jb\nc").String(), "a terminal would take it for a command")
	require.Equal(t, strings.Repeat("ü", 63)+"…", PathOf(strings.Repeat("ü", 20_000)).String())
}
