package verdict

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollwatch/rollwatch/alerts"
)

// The names of what is kept in the window as well.
const (
	gateObservedName = "rollwatch_gate_observed"
	latencyEdgeName  = "rollwatch_latency_edge"
)

// What the judge tells of itself. Only the newest rollout of a service has
// series, so their number is bounded by the configuration.
var (
	rolloutInfo = prometheus.NewDesc("rollwatch_rollout_info",
		"The newest rollout of a service.", []string{"service", "rollout", "version", "previous_version", "strategy"}, nil)
	rolloutStarted = prometheus.NewDesc("rollwatch_rollout_started_timestamp_seconds",
		"When the newest rollout of a service started.", []string{"service", "rollout"}, nil)
	verdictShown = prometheus.NewDesc("rollwatch_verdict",
		"1 for the verdict on the newest rollout of a service, 0 for the others; no series while there is none to believe.", []string{"service", "rollout", "verdict"}, nil)
	gateObserved = prometheus.NewDesc(gateObservedName,
		"What a gate observed of the newest rollout, in the unit of the gate.", []string{"service", "gate"}, nil)
	gateLimit = prometheus.NewDesc("rollwatch_gate_limit",
		"The limit that a gate holds against what it observes.", []string{"service", "gate"}, nil)
	gateState = prometheus.NewDesc("rollwatch_gate_state",
		"1 for the state of a gate for the newest rollout, 0 for the others.", []string{"service", "gate", "state"}, nil)
	baselineValue = prometheus.NewDesc("rollwatch_baseline",
		"What a service was like before its newest rollout: the ratio of errors, seconds of latency, or the ratio of requests slower than the latency edge.", []string{"service", "signal"}, nil)
	latencyEdge = prometheus.NewDesc(latencyEdgeName,
		"1 for the bucket edge by which the latency of the newest rollout is judged.", []string{"service", "le"}, nil)
	judgeDegraded = prometheus.NewDesc("rollwatch_judge_degraded",
		"1 while a verdict cannot be judged or recorded, otherwise 0.", nil, nil)
)

func newDuration() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "rollwatch_judge_duration_seconds",
		Help:    "How long one judgement of one rollout took, with reading its evidence and recording it.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
	})
}

// Describe sends the description of every metric.
func (e *Engine) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		rolloutInfo, rolloutStarted, verdictShown, gateObserved, gateLimit, gateState, baselineValue, latencyEdge, judgeDegraded,
	} {
		ch <- desc
	}
	e.duration.Describe(ch)
}

// Collect sends what is in memory.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	for _, w := range e.newestWatches() {
		r, doc := w.now()
		collectRollout(ch, r)
		if _, err := e.serve(doc, r.ID, now); err == nil {
			collectVerdict(ch, doc)
		}
	}
	degraded := 0.0
	if e.Degraded() != "" {
		degraded = 1
	}
	ch <- gauge(judgeDegraded, degraded)
	e.duration.Collect(ch)
}

// newestWatches returns the newest rollout of every service, in the order of services.
func (e *Engine) newestWatches() []*watch {
	e.mu.Lock()
	defer e.mu.Unlock()
	var found []*watch
	for _, service := range slices.Sorted(maps.Keys(e.newest)) {
		if w := e.watches[e.newest[service]]; w != nil {
			found = append(found, w)
		}
	}
	return found
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func collectRollout(ch chan<- prometheus.Metric, r Rollout) {
	ch <- gauge(rolloutInfo, 1, r.Service, r.ID, r.Version, r.PreviousVersion, string(r.Strategy))
	ch <- gauge(rolloutStarted, float64(r.StartedAt.UnixMilli())/1000, r.Service, r.ID)
	for signal, value := range r.Baseline.Signals() {
		ch <- gauge(baselineValue, value, r.Service, signal)
	}
	if le := r.Baseline.LE; le != "" {
		ch <- gauge(latencyEdge, 1, r.Service, le)
	}
}

func collectVerdict(ch chan<- prometheus.Metric, doc Document) {
	for _, word := range Words {
		ch <- gauge(verdictShown, oneIf(doc.Verdict == word), doc.Service, doc.Rollout, string(word))
	}
	for _, f := range decisiveFirst(doc) {
		if f.Observed != nil {
			ch <- gauge(gateObserved, *f.Observed, doc.Service, f.Gate)
		}
		if f.Limit != nil {
			ch <- gauge(gateLimit, *f.Limit, doc.Service, f.Gate)
		}
		for _, state := range alerts.States {
			ch <- gauge(gateState, oneIf(f.State == state), doc.Service, f.Gate, string(state))
		}
	}
}
