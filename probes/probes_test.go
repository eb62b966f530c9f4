package probes_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rollwatch/rollwatch/probes"
	"github.com/rollwatch/rollwatch/probes/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func metricsOf(k probes.Kind) []*probe.Metric {
	if k.Up == nil {
		return k.Metrics
	}
	return append(slices.Clone(k.Metrics), k.Up)
}

func TestKindsAreTold(t *testing.T) {
	names, entries := map[string]bool{}, map[string]bool{}
	for _, k := range probes.Kinds {
		require.NotEmpty(t, k.Name)
		require.False(t, names[k.Name], "two kinds named %s", k.Name)
		names[k.Name] = true
		require.Positive(t, k.Timeout, k.Name)
		require.NotNil(t, k.New, k.Name)
		if k.Section == "" {
			continue
		}
		entry := k.Section + "/" + k.Selector
		require.False(t, entries[entry], "%s: a section and selector of another kind", k.Name)
		entries[entry] = true
		if k.Selector != "" {
			require.False(t, entries[k.Section+"/"], "%s: the section is another kind's as a whole", k.Name)
		}
	}
}

// A metric of several kinds is one family: it must be described alike.
func TestMetricsAreDescribed(t *testing.T) {
	families := map[string]probe.Metric{}
	sentence := regexp.MustCompile(`^[A-Z].*[.]$`)
	label := regexp.MustCompile(`^[a-z][a-z_]*$`)
	for _, k := range probes.Kinds {
		require.NotEmpty(t, k.Metrics, k.Name)
		for _, m := range metricsOf(k) {
			require.Regexp(t, sentence, m.Help, m.Name)
			require.NotEmpty(t, m.Source, m.Name)
			require.Contains(t, []probe.Type{probe.Gauge, probe.Counter, probe.Histogram, probe.Summary}, m.Type, m.Name)
			for _, l := range m.Labels {
				require.Regexp(t, label, l, m.Name)
				require.NotContains(t, []string{"target", "job", "instance", "kind"}, l, "%s: the collector's label", m.Name)
			}
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(m.Labels))), len(m.Labels), "%s: a label twice", m.Name)
			if known, twice := families[m.Name]; twice {
				require.Equal(t, known, *m, "two descriptions of one family")
			}
			families[m.Name] = *m
		}
		require.Len(t, slices.Compact(slices.SortedFunc(slices.Values(metricsOf(k)), byName)), len(metricsOf(k)), "%s: a metric twice", k.Name)
		if k.Up != nil {
			require.Empty(t, k.Up.Labels, "the collector sets it without labels")
			require.NotContains(t, k.Metrics, k.Up, "it is the collector's")
		}
	}
}

func byName(a, b *probe.Metric) int { return strings.Compare(a.Name, b.Name) }

// described shows a metric as it will be exposed.
type described struct{ *probe.Metric }

func (d described) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(d, ch) }

func (d described) Collect(ch chan<- prometheus.Metric) {
	labels := append([]string{"target"}, d.Labels...)
	desc := prometheus.NewDesc(d.Name, d.Help, labels, nil)
	switch d.Type {
	case probe.Histogram:
		ch <- prometheus.MustNewConstHistogram(desc, 1, 1, map[float64]uint64{1: 1}, labels...)
	case probe.Summary:
		ch <- prometheus.MustNewConstSummary(desc, 1, 1, map[float64]float64{0.5: 1}, labels...)
	default:
		kind := map[probe.Type]prometheus.ValueType{probe.Gauge: prometheus.GaugeValue, probe.Counter: prometheus.CounterValue}[d.Type]
		ch <- prometheus.MustNewConstMetric(desc, kind, 0, labels...)
	}
}

// The unit of a family is told where its name tells it, and where only its
// description does.
func TestUnitsAreTold(t *testing.T) {
	named := regexp.MustCompile(`_(seconds|bytes|ratio)(_total)?$`)
	said := regexp.MustCompile(`\b(milliseconds|microseconds)\b`)
	var wrong []string
	for _, k := range probes.Kinds {
		for _, m := range metricsOf(k) {
			require.Contains(t, []string{"", "seconds", "bytes", "ratio", "milliseconds", "microseconds"}, m.Unit, m.Name)
			want := m.Unit
			if unit := named.FindStringSubmatch(m.Name); unit != nil {
				want = unit[1]
			} else if unit := said.FindString(m.Help); unit != "" {
				want = unit
			}
			if m.Unit != want {
				wrong = append(wrong, m.Name+": "+want)
			}
		}
	}
	require.Empty(t, wrong)
}

// Names are clean, or an established exporter's and the description says so.
func TestNamesAreClean(t *testing.T) {
	for _, k := range probes.Kinds {
		for _, m := range metricsOf(k) {
			problems, err := testutil.CollectAndLint(described{m})
			require.NoError(t, err, m.Name)
			if len(problems) > 0 {
				require.NotEmpty(t, m.Note, "%s: %v: rename it, or say in Note whose name it is", m.Name, problems)
			}
		}
	}
}

// An empty entry is told what it lacks, and one with a name what else.
func TestEmptyEntries(t *testing.T) {
	for _, k := range probes.Kinds {
		t.Run(k.Name, func(t *testing.T) {
			config := k.New()
			require.Empty(t, config.Address(), "an entry without an address is left out")
			faults := config.Validate()
			require.NotEmpty(t, faults)
			for _, f := range faults {
				require.True(t, f.Path == "$" || strings.HasPrefix(f.Path, "$."), f.Path)
				require.NotEmpty(t, f.Problem)
				require.NotEmpty(t, f.Cure)
			}
			require.NotSame(t, config, k.New(), "each entry is its own")
		})
	}
}

// Whoever comes from the exporters finds their series here, or why not: under
// the same name, with the same labels, and of the same type.
func TestTheExportersNamesAreHere(t *testing.T) {
	known := map[string]*probe.Metric{}
	for _, k := range probes.Kinds {
		for _, m := range metricsOf(k) {
			known[m.Name] = m
		}
	}
	text, err := os.ReadFile("testdata/exporters.tsv")
	require.NoError(t, err)
	used := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimRight(line, "\n"), "\t")
		name, kind, labels := fields[0], fields[1], strings.FieldsFunc(fields[2], func(r rune) bool { return r == ',' })
		m := known[name]
		if m == nil {
			i := slices.IndexFunc(probes.Elsewhere, func(e probes.NotHere) bool { return e.Matches(name) })
			require.GreaterOrEqual(t, i, 0, "%s is neither read nor is it said why not", name)
			used[probes.Elsewhere[i].Name] = true
			continue
		}
		own := slices.Clone(m.Labels)
		switch m.Type {
		case probe.Histogram:
			own = append(own, "le")
		case probe.Summary:
			own = append(own, "quantile")
		default:
		}
		if m.Note == "" {
			require.Equal(t, kind, string(m.Type), "%s: say in Note why", name)
			require.ElementsMatch(t, labels, own, "%s: say in Note why", name)
		}
	}
	for _, e := range probes.Elsewhere {
		require.True(t, used[e.Name], "%s: nobody has such a name", e.Name)
		require.NotEmpty(t, e.Why)
	}
}
