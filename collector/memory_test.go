package collector

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

func named(name string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)
}

func parse(tb testing.TB, input ...InputSeries) *Memory {
	tb.Helper()
	m, err := ParseMemory(15*time.Second, input)
	require.NoError(tb, err)
	return m
}

func TestMemorySelectsRawSamplesWithoutStaleMarkers(t *testing.T) {
	m := parse(t,
		InputSeries{`x{job="b"}`, "1 _ 3 stale 5"},
		InputSeries{`x{job="a"}`, "0+1x4"},
		InputSeries{`y`, "7x4"},
	)
	got, err := m.Select(t.Context(), at(0), at(60), named("x"))
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "a", got[0].Labels.Get("job"), "series come in the order of their labels")
	require.Equal(t, []Point{{15_000, 1}, {30_000, 2}, {45_000, 3}, {60_000, 4}}, got[0].Points, "from is left out, to is in")
	require.Equal(t, []Point{{30_000, 3}, {60_000, 5}}, got[1].Points, "neither the gap nor the marker is a sample")

	got, err = m.Select(t.Context(), at(60), at(3600), named("x"))
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestMemoryAnswersPromQLAndHonoursStaleMarkers(t *testing.T) {
	m := parse(t, InputSeries{`x{job="a"}`, "1 1 1"}, InputSeries{`x{job="b"}`, "1 stale"})
	got, err := m.Query(t.Context(), "sum(x)", at(0), at(30), 15*time.Second)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "2 @[0] 1 @[15000] 1 @[30000]", points(got[0].Floats))

	now, err := m.Query(t.Context(), "sum(x)", at(15), at(15), 0)
	require.NoError(t, err)
	require.Equal(t, "1 @[15000]", points(now[0].Floats), "one moment needs no step")

	for expr, want := range map[string]string{"sum(": "unclosed left parenthesis", `"text"`: "must be Scalar"} {
		_, err := m.Query(t.Context(), expr, at(0), at(30), 15*time.Second)
		require.ErrorContains(t, err, want)
	}
	_, err = m.Query(t.Context(), "x", at(30), at(0), time.Second)
	require.ErrorContains(t, err, "ends")
	_, err = m.Query(t.Context(), "x", at(0), at(30), 0)
	require.ErrorContains(t, err, "must be positive")
}

func points[P fmt.Stringer](ps []P) string {
	s := ""
	for i, p := range ps {
		if i > 0 {
			s += " "
		}
		s += p.String()
	}
	return s
}

func TestParseMemoryNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		input []InputSeries
		want  string
	}{
		"not a series":     {[]InputSeries{{"x{", "1"}}, "input_series[0] x{"},
		"not values":       {[]InputSeries{{"x", "1"}, {"y", "one two"}}, "input_series[1] y"},
		"twice":            {[]InputSeries{{"x{a=\"1\"}", "1"}, {`x{a="1"}`, "1"}}, "is there already"},
		"native histogram": {[]InputSeries{{"x", "{{schema:0 count:1 sum:1 buckets:[1]}}"}}, "native histograms"},
		"too many":         {[]InputSeries{{"x", "0+1x1000000000"}}, "input_series[0] x: with this one there are more than 1000000 values"},
		"far too many":     {[]InputSeries{{"x", "_x99999999999999999999"}}, "more than 1000000 values"},
		"many each":        {[]InputSeries{{"x", "1x600000"}, {"y", "1x300000 _x300000"}}, "input_series[1] y: with this one"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseMemory(time.Second, c.input)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestMemoryRefusesThePast(t *testing.T) {
	m, lset := NewMemory(), labels.FromStrings(model.MetricNameLabel, "x")
	require.NoError(t, m.Append(at(15), lset, 1))
	require.ErrorContains(t, m.Append(at(15), lset, 2), "not newer")
	require.NoError(t, m.Append(at(30), lset, 3))
}
