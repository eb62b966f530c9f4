package collector

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A Snapshot is where writers find what was read: a Schedule.
type Snapshot interface {
	// Statuses is what is known of every target at now, from memory.
	Statuses(now time.Time) []Status
}

// exporter writes the newest snapshot as Prometheus metrics. It is unchecked
// (it describes nothing): what there is depends on the targets.
type exporter struct {
	source Snapshot
	log    *zap.Logger
	warned sync.Once
}

// NewCollector makes a prometheus.Collector of everything that was read. It
// never waits for a target.
func NewCollector(source Snapshot, log *zap.Logger) prometheus.Collector {
	return &exporter{source: source, log: log}
}

// Describe implements prometheus.Collector.
func (e *exporter) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (e *exporter) Collect(ch chan<- prometheus.Metric) {
	page := page{families: map[string]family{}, seen: map[string]struct{}{}}
	for _, status := range e.source.Statuses(time.Now()) {
		for _, sample := range samples(status) {
			m, err := page.metric(sample, status.Name)
			if err == nil {
				ch <- m
				continue
			}
			e.warned.Do(func() {
				e.log.Warn("a series cannot be exposed and is left out, perhaps among others", zap.Error(err),
					zap.String("kind", status.Kind), zap.String("target", status.Name))
			})
		}
	}
}

// A page is one exposition in the making.
type page struct {
	families map[string]family   // by name
	seen     map[string]struct{} // name and labels
}

type family struct {
	of   *probe.Metric
	desc *prometheus.Desc
}

// metric is a sample as client_golang has it. It refuses what would spoil the
// whole page: a series that another target has too, or a name with two
// meanings. The tests of the kinds rule that out; one that escapes them must
// not cost everybody else's metrics.
func (p *page) metric(s probe.Sample, target string) (prometheus.Metric, error) {
	f, ok := p.families[s.Metric.Name]
	if !ok {
		labels := append([]string{"target"}, s.Metric.Labels...)
		f = family{of: s.Metric, desc: prometheus.NewDesc(s.Metric.Name, s.Metric.Help, labels, nil)}
		p.families[s.Metric.Name] = f
	}
	if f.of != s.Metric && !alike(f.of, s.Metric) {
		return nil, fmt.Errorf("%s has two descriptions", s.Metric.Name)
	}
	values := append([]string{target}, s.Labels...)
	key := s.Metric.Name + "\xff" + strings.Join(values, "\xff")
	if _, twice := p.seen[key]; twice {
		return nil, fmt.Errorf("%s %q is read of two targets", s.Metric.Name, values)
	}
	p.seen[key] = struct{}{}
	if s.Distribution != nil {
		return distribution(f.desc, s, values)
	}
	return prometheus.NewConstMetric(f.desc, valueType(s.Metric), s.Value, values...)
}

// distribution is a histogram or a summary as client_golang has it.
func distribution(desc *prometheus.Desc, s probe.Sample, labels []string) (prometheus.Metric, error) {
	d := s.Distribution
	if s.Metric.Type == probe.Summary {
		quantiles := make(map[float64]float64, len(d.Points))
		for _, p := range d.Points {
			quantiles[p.At] = p.Value
		}
		return prometheus.NewConstSummary(desc, d.Count, d.Sum, quantiles, labels...)
	}
	buckets := make(map[float64]uint64, len(d.Points))
	for _, p := range d.Points {
		buckets[p.At] = uint64(p.Value)
	}
	return prometheus.NewConstHistogram(desc, d.Count, d.Sum, buckets, labels...)
}

// alike says whether series of both may stand in one family.
func alike(a, b *probe.Metric) bool {
	return a.Type == b.Type && a.Help == b.Help && slices.Equal(a.Labels, b.Labels)
}

// valueType is how a metric is typed. A counter whose established name has no
// _total stays untyped: OpenMetrics would append _total, and the series would
// have another name than the dashboards that people already have.
func valueType(m *probe.Metric) prometheus.ValueType {
	switch {
	case m.Type != probe.Counter:
		return prometheus.GaugeValue
	case strings.HasSuffix(m.Name, "_total"):
		return prometheus.CounterValue
	default:
		return prometheus.UntypedValue
	}
}
