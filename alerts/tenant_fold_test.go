package alerts

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

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
}

func (w *brokenWindow) Select(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]collector.Series, error) {
	if w.left--; w.left < 0 {
		return nil, errors.New("the window is gone")
	}
	return w.Window.Select(ctx, from, to, matchers...)
}

func TestAnInterruptedRebuildGoesOnWhereItWas(t *testing.T) {
	service := apiService()
	service.TenantLabel = "domain"
	whole := restless(t, rand.New(rand.NewPCG(1, 12)), 20*time.Minute)
	scene := Scene{
		Service: service, Now: started.Add(20 * time.Minute), Interval: interval, Policy: Policy{MinRequests: 100}, Kept: &Kept{},
		Subject: Subject{Service: "api", Version: "2", Strategy: Rolling, StartedAt: started, Baseline: Baseline{Spans: []Span{{time.Unix(0, 0), started}}}},
	}
	tries := 0
	for ; tries < 100; tries++ {
		scene.Window = &brokenWindow{Window: whole, left: 7}
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

// tenantSeries are the series of one tenant, from a hundred thousand of whom few are
// served in one minute.
func BenchmarkTenants(b *testing.B) {
	for _, tenants := range []int{10_000, 100_000} {
		b.Run(strconv.Itoa(tenants), func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 13))
			window := collector.NewMemory()
			const minutes = 3
			begin := time.Unix(0, 0)
			at := begin.Add(10 * time.Minute)
			for i := range tenants {
				l := labels.FromStrings(model.MetricNameLabel, "http_request_duration_seconds_count", "job", "api", "instance", fmt.Sprintf("%d:1", i%10),
					"status_code", "200", "tenant", "tenant-"+strconv.Itoa(i))
				v := 0.0
				for now := begin; !now.After(at.Add((minutes + 1) * time.Minute)); now = now.Add(interval) {
					if err := window.Append(now, l, v); err != nil {
						b.Fatal(err)
					}
					v += float64(random.IntN(3))
				}
			}
			service := apiService()
			service.TenantLabel = "tenant"
			scene := Scene{
				Window: window, Service: service, Interval: interval, Policy: Policy{MinRequests: 100}, Kept: &Kept{},
				Subject: Subject{Service: "api", Version: "2", Strategy: Rolling, StartedAt: at, Baseline: Baseline{Spans: []Span{{begin, at}}}},
			}
			var worst time.Duration
			for b.Loop() {
				b.StopTimer()
				scene.Kept = &Kept{}
				scene.Now = at.Add(minutes*time.Minute + 15*time.Second)
				if _, err := tenantErrors.Eval(b.Context(), tenantErrors, scene); err != nil {
					b.Fatal(err)
				}
				scene.Now = scene.Now.Add(interval) // one more minute is over
				b.StartTimer()
				begin := time.Now()
				if _, err := tenantErrors.Eval(b.Context(), tenantErrors, scene); err != nil {
					b.Fatal(err)
				}
				worst = max(worst, time.Since(begin))
			}
			b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
		})
	}
}
