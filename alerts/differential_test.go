package alerts

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector"
)

// An engine is the rule engine of Prometheus on a window, which it records into.
type engine struct {
	window    *collector.Memory
	recording []*rules.RecordingRule
	alerting  map[string]*rules.AlertingRule // by gate
}

func newEngine(t *testing.T, window *collector.Memory, groups *rulefmt.RuleGroups) *engine {
	t.Helper()
	e := &engine{window: window, alerting: map[string]*rules.AlertingRule{}}
	for _, group := range groups.Groups {
		for _, r := range group.Rules {
			expr, err := promQL.ParseExpr(r.Expr)
			require.NoError(t, err)
			if r.Record != "" {
				e.recording = append(e.recording, rules.NewRecordingRule(r.Record, expr, labels.FromMap(r.Labels)))
				continue
			}
			e.alerting[r.Labels["gate"]] = rules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), 0,
				labels.FromMap(r.Labels), labels.EmptyLabels(), labels.EmptyLabels(), "", false, promslog.NewNopLogger())
		}
	}
	return e
}

// at evaluates all rules at a time, in order, as a group of rules does.
func (e *engine) at(t *testing.T, now time.Time) {
	t.Helper()
	query := func(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
		matrix, err := e.window.Query(ctx, expr, at, at, 0)
		var vector promql.Vector
		for _, s := range matrix {
			for _, p := range s.Floats {
				vector = append(vector, promql.Sample{Metric: s.Metric, T: p.T, F: p.F})
			}
		}
		return vector, err
	}
	for _, r := range e.recording {
		vector, err := r.Eval(t.Context(), 0, now, query, nil, 0)
		require.NoError(t, err)
		for _, s := range vector {
			require.NoError(t, e.window.Append(now, s.Metric, s.F))
		}
	}
	for _, r := range e.alerting {
		_, err := r.Eval(t.Context(), 0, now, query, nil, 0)
		require.NoError(t, err)
	}
}

// A random service: two pods, Poisson traffic, a share of errors that changes
// once, pods that restart and pods that are born.
func randomService(t *testing.T, rng *rand.Rand, ticks int) *collector.Memory {
	t.Helper()
	window := collector.NewMemory()
	shares := []float64{0, 0.002, 0.005, 0.02, 0.05, 0.2, 0.6, 1}
	before, after := shares[rng.IntN(4)], shares[rng.IntN(len(shares))]
	rate, change := []float64{1, 8, 80, 800}[rng.IntN(4)], rng.IntN(ticks)
	for pod := range 2 {
		born, restart := 0, -1
		if rng.IntN(3) == 0 {
			born = rng.IntN(ticks)
		}
		if rng.IntN(3) == 0 {
			restart = rng.IntN(ticks)
		}
		counters := map[string]float64{"200": 0}
		for tick := born; tick < ticks; tick++ {
			if tick == restart {
				counters = map[string]float64{"200": 0}
			}
			share := before
			if tick >= change {
				share = after
			}
			for range int(poisson(rng, rate)) {
				status := "200"
				if rng.Float64() < share {
					status = "500" // born with its first error
				}
				counters[status]++
			}
			for status, v := range counters {
				l := labels.FromStrings(model.MetricNameLabel, "http_request_duration_seconds_count", "job", "api",
					"instance", fmt.Sprintf("%c:1", 'a'+pod), "status_code", status)
				require.NoError(t, window.Append(time.Unix(0, 0).Add(time.Duration(tick)*interval), l, v))
			}
		}
	}
	return window
}

// A difference between the judge and the rules, by why they differ.
type difference string

const (
	same          difference = "the same"
	births        difference = "a birth is counted whole by the judge and read as 0 by increase()"
	ranges        difference = "a range has no sample before its start, so that the rise into it is lost"
	extrapolation difference = "increase() extrapolates what is within a tenth of a limit"
	unexplained   difference = "unexplained"
)

// TestRulesDifferFromTheJudgeOnlyAsDocumented gives random series to both.
func TestRulesDifferFromTheJudgeOnlyAsDocumented(t *testing.T) {
	const ticks = 80
	service := &Service{Name: "api", Metrics: Metrics{Preset: DefaultPreset}}
	text, err := Rules([]*Service{service}, Config{Tuned: map[string]Tuning{}}, interval)
	require.NoError(t, err)
	groups, faults := rulefmt.Parse(text, false, model.UTF8Validation, promQL, promslog.NewNopLogger())
	require.Empty(t, faults)
	groups.Groups = groups.Groups[:2] // error_ratio and outage
	found, firings := map[difference]int{}, 0
	for seed := range 12 {
		rng := rand.New(rand.NewPCG(uint64(seed), 11))
		window := randomService(t, rng, ticks)
		e := newEngine(t, window, groups)
		scene := Scene{
			Window: window, Service: service, Interval: interval,
			// The judge's rollout began before everything: the rules know of none.
			Subject: Subject{Service: "api", StartedAt: time.Unix(-3600, 0)},
		}
		for tick := 24; tick < ticks; tick++ {
			scene.Now = time.Unix(0, 0).Add(time.Duration(tick) * interval)
			e.at(t, scene.Now)
			counts, err := gather(t.Context(), scene, false)
			require.NoError(t, err)
			for _, gate := range []Gate{errorRatio.tuned(Tuning{}), outage.tuned(Tuning{})} {
				judged := gate.Assess(counts, scene).State == Firing
				ruled := len(e.alerting[gate.Name].ActiveAlerts()) > 0
				why := explain(t, gate, scene, judged, ruled)
				require.NotEqual(t, unexplained, why, "seed %d, %s, %s: judge %v, rules %v", seed, gate.Name, scene.Now.UTC().Format(time.TimeOnly), judged, ruled)
				found[why]++
				if judged && ruled {
					firings++
				}
			}
		}
	}
	t.Log(found, "both firing:", firings)
	require.Greater(t, firings, 150, "both fire often enough for agreement to mean something")
	require.Greater(t, found[same], 20*(found[births]+found[ranges]+found[extrapolation]))
}

// explain finds why judge and rules differ, by judging again with less of what
// only the judge knows.
func explain(t *testing.T, gate Gate, scene Scene, judged, ruled bool) difference {
	t.Helper()
	if judged == ruled {
		return same
	}
	series, err := scene.Window.Select(t.Context(), time.Unix(-1, 0), scene.Now, equal(model.MetricNameLabel, "http_request_duration_seconds_count"))
	require.NoError(t, err)
	switch {
	case rejudge(gate, scene, series, true, 1) == ruled:
		return births
	case rejudge(gate, scene, series, false, 1) == ruled:
		return ranges
	case rejudge(gate, scene, series, false, 1.1) == ruled || rejudge(gate, scene, series, false, 1/1.1) == ruled:
		return extrapolation
	default:
		return unexplained
	}
}

// rejudge judges on the differences between samples alone. into says whether
// the difference into a range counts; slack scales what must be reached.
func rejudge(gate Gate, scene Scene, series []collector.Series, into bool, slack float64) bool {
	within := func(from, to time.Time) (r Ratio) {
		for _, s := range series {
			for i := 1; i < len(s.Points); i++ {
				before, p := s.Points[i-1], s.Points[i]
				if p.T <= from.UnixMilli() || p.T > to.UnixMilli() || !into && before.T <= from.UnixMilli() {
					continue
				}
				n := p.V - before.V
				if n < 0 {
					n = p.V
				}
				r.N += n
				if s.Labels.Get("status_code") == "500" {
					r.Bad += n
				}
			}
		}
		return r
	}
	k := spansOf(gate.For, scene.Interval)
	width := gate.For / time.Duration(k)
	for i := range k {
		to := scene.Now.Add(-time.Duration(i) * width)
		if within(to.Add(-width), to).Value() <= gate.Limit*slack {
			return false
		}
	}
	whole := within(scene.Now.Add(-gate.For), scene.Now)
	if !into { // as increase() makes up for it
		lost := float64(gate.For-scene.Interval) / float64(gate.For)
		whole.N, whole.Bad = whole.N/lost, whole.Bad/lost
	}
	return guard(whole, gate.Limit/2) >= guardNeeded*slack
}
