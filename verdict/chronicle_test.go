package verdict

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
)

// A chronicle is a service whose pods are scraped every tick, each at an offset of
// its own: an hour before a blue-green rollout, and its watch.
type chronicle struct {
	perTick     float64 // requests a pod answers in a tick; 0: no traffic
	failing     float64 // share of them that fail from the rollout on
	newPods     bool    // the pods of the rollout are all new
	wantVerdict Word
}

// From raw series through the real gates to the verdict, on simulated time.
func TestFromSeriesToVerdict(t *testing.T) {
	for name, s := range map[string]chronicle{
		"five percent of errors roll back":  {perTick: 300, failing: 0.05, wantVerdict: Rollback},
		"errors of newborn pods are caught": {perTick: 300, failing: 0.05, newPods: true, wantVerdict: Rollback},
		"healthy with traffic is promoted":  {perTick: 300, wantVerdict: Promote},
		"no traffic holds, and it is said":  {wantVerdict: HoldOn},
	} {
		t.Run(name, func(t *testing.T) {
			doc := s.tell(t)
			require.Equal(t, s.wantVerdict, doc.Verdict, doc.Progress)
			if s.wantVerdict == Rollback {
				reason := doc.Reasons[0]
				require.Equal(t, "error_ratio", reason.Gate)
				require.InDelta(t, 0.05, *reason.Observed, 0.01)
				require.InDelta(t, 0.01, *reason.Limit, 0)
				require.Positive(t, reason.N)
				require.Equal(t, "5m", reason.Window)
			}
			if s.wantVerdict == HoldOn {
				require.NotEmpty(t, doc.Missing)
				require.Equal(t, alerts.NoTraffic, doc.Missing[0].State)
			}
		})
	}
}

// tell plays the story to its end and returns the last verdict.
func (s chronicle) tell(t *testing.T) Document {
	t.Helper()
	const interval = 15 * time.Second
	start := time.Unix(7200, 0)
	window := collector.NewMemory()
	service := &alerts.Service{Name: "api", Metrics: alerts.Metrics{
		Preset: "prom-client", Scrape: []collector.ScrapeTarget{{URL: "http://127.0.0.1/metrics"}},
	}}
	gates := alerts.Gates(alerts.Config{}, service)
	policy := DefaultConfig().Policy(interval)
	scene := alerts.Scene{
		Window: window, Service: service, Interval: interval, Grace: policy.Grace, Policy: alerts.Policy{MinRequests: 100},
		Subject: alerts.Subject{Service: "api", Version: "2", Strategy: alerts.BlueGreen, StartedAt: start},
	}
	rollout := Rollout{ID: "r", Registration: Registration{Service: "api", Version: "2", Strategy: alerts.BlueGreen, Kind: Deploy, StartedAt: start}}
	total := map[string]float64{}
	var doc Document
	for at := start.Add(-time.Hour); !at.After(start.Add(6 * time.Minute)); at = at.Add(interval) {
		s.scrape(t, window, at, at.After(start), total)
		if scene.Now = at.Add(interval - time.Second); scene.Now.Before(start) {
			continue
		}
		if scene.Subject.Baseline.ID == "" {
			baseline, err := alerts.TakeBaseline(t.Context(), gates, scene, nil)
			require.NoError(t, err)
			scene.Subject.Baseline = baseline
		}
		findings, err := alerts.Evaluate(t.Context(), gates, scene)
		require.NoError(t, err)
		if doc = Judge(rollout, findings, policy, scene.Now); doc.Verdict == Rollback || doc.Verdict == Promote {
			return doc
		}
	}
	return doc
}

// scrape appends what three pods have counted, each a few seconds after the other.
func (s chronicle) scrape(t *testing.T, window *collector.Memory, at time.Time, rolledOut bool, total map[string]float64) {
	t.Helper()
	for i, pod := range []string{"a:1", "b:1", "c:1"} {
		at := at.Add(time.Duration(4*i) * time.Second)
		failed := 0.0
		if rolledOut {
			failed = s.failing * s.perTick
			if s.newPods {
				pod += "2"
			}
		}
		put := func(name string, value float64, more ...string) {
			lset := labels.FromStrings(append([]string{"__name__", name, "job", "api", "instance", pod}, more...)...)
			require.NoError(t, window.Append(at, lset, value))
		}
		put("up", 1)
		put("process_start_time_seconds", float64(at.Add(-10*time.Second).Unix()-int64(total["age"+pod])))
		total["age"+pod] += 15
		count := func(status string, n float64) {
			key := pod + status
			total[key] += n
			if total[key] > 0 || status == "200" {
				put("http_request_duration_seconds_count", total[key], "status_code", status)
				put("http_request_duration_seconds_bucket", total[key], "status_code", status, "le", "0.1")
				put("http_request_duration_seconds_bucket", total[key], "status_code", status, "le", "1.0")
				put("http_request_duration_seconds_bucket", total[key], "status_code", status, "le", "+Inf")
			}
		}
		count("200", s.perTick-failed)
		count("500", failed)
	}
}
