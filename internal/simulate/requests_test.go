package simulate

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// What the series of the routes tell is what the arms did, before the rollout and
// under it, and of what the new version is sent more goes to the flaky route.
func TestRoutesAddUpToTheirArm(t *testing.T) {
	var w world
	s := scenarioOf(t, "6")
	w.begin(s, Rollouts[2], 20, Dev.source("routes", 0), 0)
	w.reach(60)
	win := windowOf(&w)
	require.Nil(t, win.counted, "nothing is made before it is asked for")
	count := func(from, to time.Duration, pairs ...string) (n float64) {
		matchers := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, pairs[0])}
		for i := 1; i < len(pairs); i += 2 {
			matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, pairs[i], pairs[i+1]))
		}
		all, err := win.Select(t.Context(), begun.Add(from), begun.Add(to), matchers...)
		require.NoError(t, err)
		require.NotEmpty(t, all)
		for _, series := range all {
			n += series.Points[len(series.Points)-1].V - series.Points[0].V
		}
		return n
	}
	var requests, errors, slow, before float64
	for i := range w.ticks {
		requests, errors = requests+w.ticks[i].new.Requests, errors+w.ticks[i].new.Errors
		if len(w.ticks[i].new.Slower) > 0 {
			slow += w.ticks[i].new.Slower[5]
		}
	}
	for _, tally := range w.before {
		before += tally.Requests
	}
	const metric = durationMetric + "_count"
	since, now := -time.Nanosecond, 15*time.Minute
	require.Equal(t, requests, count(since, now, metric, trackLabel, "canary"))
	require.Equal(t, errors, count(since, now, metric, trackLabel, "canary", "status_code", "500"))
	require.Equal(t, requests-slow, count(since, now, durationMetric+"_bucket", trackLabel, "canary", "le", "0.25"))
	require.Equal(t, before, count(-time.Hour-time.Nanosecond, 0, metric, trackLabel, "stable"))
	flaky := count(since, now, metric, trackLabel, "canary", routeLabel, "/import")
	require.InDelta(t, flakyShifted, flaky/requests, 0.03)
	flaky = count(-time.Hour-time.Nanosecond, 0, metric, trackLabel, "stable", routeLabel, "/import")
	require.InDelta(t, flakyShare, flaky/before, 0.005)
	failed := count(-time.Hour-time.Nanosecond, 0, metric, trackLabel, "stable", routeLabel, "/import", "status_code", "500")
	require.InDelta(t, usualErrors+flakyFails, failed/flaky, 0.012)
}

func scenarioOf(t *testing.T, number string) *Scenario {
	t.Helper()
	for i := range Scenarios {
		if Scenarios[i].Number == number {
			return &Scenarios[i]
		}
	}
	t.Fatalf("there is no scenario %s", number)
	return nil
}
