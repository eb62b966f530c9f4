package alerts

import (
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

// A wildPod is scraped now and then, restarts when it likes, and may change to
// another version and other buckets as it does.
type wildPod struct {
	name    string
	phase   time.Duration
	version string
	edges   []string
	began   time.Time
	counted map[string]float64
	down    int // scrapes that fail from now on
}

func (p *wildPod) restart(random *rand.Rand, now time.Time) {
	p.began, p.counted = now.Add(-time.Second), map[string]float64{}
	if random.IntN(2) == 0 {
		p.version = "2"
	}
	if random.IntN(4) == 0 {
		p.edges = []string{"0.1", "1"}
	}
}

func (p *wildPod) scrape(t *testing.T, random *rand.Rand, window *collector.Memory, at time.Time) {
	t.Helper()
	put := func(name string, value float64, more ...string) {
		lset := labels.FromStrings(append([]string{model.MetricNameLabel, name, "job", "api", "instance", p.name}, more...)...)
		require.NoError(t, window.Append(at, lset, value))
	}
	if p.down > 0 {
		p.down--
		put("up", 0)
		return
	}
	put("up", 1)
	put(processStart, float64(p.began.UnixMilli())/1000)
	for _, status := range []string{"200", "500"} {
		if status == "500" && random.IntN(3) == 0 && p.counted[status] == 0 {
			continue
		}
		n := float64(random.IntN(20))
		p.counted[status] += n
		tell := []string{"status_code", status}
		if p.version != "" {
			tell = append(tell, "version", p.version)
		}
		put("http_request_duration_seconds_count", p.counted[status], tell...)
		for _, le := range append(p.edges, "+Inf") {
			p.counted[status+le] += float64(random.IntN(int(n) + 1))
			put("http_request_duration_seconds_bucket", p.counted[status+le], append(tell, "le", le)...)
		}
	}
}

// Whatever happens to the instances of a service, and though some scrapes are
// written after a judgement that was later than they: what is kept from one
// judgement to the next is what would be counted anew.
func TestWhatIsKeptIsWhatWouldBeCountedAnew(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			window, service := collector.NewMemory(), apiService()
			if seed%2 == 0 {
				service.VersionLabel = "version"
			}
			begin := time.Unix(100_000, 0)
			var pods []*wildPod
			for i := range 3 {
				p := &wildPod{name: fmt.Sprintf("%d:1", i), phase: time.Duration(random.IntN(15000)) * time.Millisecond, edges: []string{"0.1", "0.5", "1"}, began: begin, counted: map[string]float64{}}
				if seed%4 == 0 {
					p.version = "1"
				}
				pods = append(pods, p)
			}
			scene := Scene{
				Window: window, Service: service, Interval: interval, Grace: time.Minute, Kept: &Kept{},
				Subject: Subject{Service: "api", Version: "2", Strategy: Rolling, StartedAt: begin.Add(10 * interval)},
			}
			for tick := range 80 {
				at := begin.Add(time.Duration(tick) * interval)
				var late []*wildPod
				for _, p := range pods {
					switch random.IntN(30) {
					case 0:
						p.restart(random, at)
					case 1:
						p.down = 1 + random.IntN(6)
					case 2:
						continue // a scrape that nobody wrote down
					case 3:
						late = append(late, p)
						continue
					}
					p.scrape(t, random, window, at.Add(p.phase))
				}
				scene.Now = at.Add(interval).Add(time.Duration(random.IntN(15000)) * time.Millisecond)
				if scene.Now.Before(scene.Subject.StartedAt) {
					continue
				}
				kept, err := gather(t.Context(), scene, false)
				require.NoError(t, err)
				anew := scene
				anew.Kept = nil
				want, err := gather(t.Context(), anew, false)
				require.NoError(t, err)
				require.Equal(t, want, kept, "after %d ticks", tick)
				for _, p := range late {
					p.scrape(t, random, window, at.Add(p.phase))
				}
			}
		})
	}
}

// With very many series a whole watch cannot be read within one judgement: each goes
// on where the one before was.
func TestACountThatWasInterruptedGoesOnWhereItWas(t *testing.T) {
	window := collector.NewMemory()
	for tick := range 360 {
		at := time.Unix(0, 0).Add(time.Duration(tick) * interval)
		lset := labels.FromStrings(model.MetricNameLabel, "http_request_duration_seconds_count", "job", "api", "instance", "a:1", "status_code", "200")
		require.NoError(t, window.Append(at, lset, float64(10*tick)))
	}
	scene := Scene{
		Window: window, Service: apiService(), Interval: interval, Grace: time.Minute, Now: time.Unix(0, 0).Add(90 * time.Minute),
		Subject: Subject{Service: "api", Version: "2", Strategy: Rolling, StartedAt: time.Unix(0, 0).Add(time.Minute)},
	}
	whole, err := gather(t.Context(), scene, false)
	require.NoError(t, err)
	scene.Kept = &Kept{}
	tries := 0
	var counts Counts
	for err = errors.New("not yet"); err != nil && tries < 20; tries++ {
		scene.Window = &brokenWindow{Window: window, left: 9} // one stretch, and a part of the next
		counts, err = gather(t.Context(), scene, false)
	}
	require.NoError(t, err)
	require.Greater(t, tries, 2)
	require.Equal(t, whole, counts)
}
