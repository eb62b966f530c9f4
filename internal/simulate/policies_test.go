package simulate

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

// story is a history of a new version with so many requests and errors in each
// minute; a minute without requests has series, one of -1 has none.
func story(minutes ...[2]float64) *history {
	h := &history{watch: len(minutes) * minuteTicks, world: &world{}}
	h.new, h.old = []reading{{}}, []reading{{}}
	for _, m := range minutes {
		for tick := range minuteTicks {
			tally := alerts.Tally{Seen: m[0] >= 0, Slower: make([]float64, len(edges))}
			if tick == 0 {
				tally.Requests, tally.Errors = max(0, m[0]), m[1]
			}
			h.new = append(h.new, h.new[len(h.new)-1].plus(tally))
			h.old = append(h.old, reading{})
		}
	}
	return h
}

// many repeats a minute.
func many(n int, requests, errors float64) (all [][2]float64) {
	for range n {
		all = append(all, [2]float64{requests, errors})
	}
	return all
}

func TestArgoCountsFailuresWithoutForgettingAny(t *testing.T) {
	rule := argo{success: 0.95, failureLimit: 2, errorLimit: 4}
	var m argoMetric
	for range 3 { // failed (2) is not over failureLimit (2), whatever succeeds between
		require.Equal(t, running, m.measured(successful, rule))
	}
	require.Equal(t, running, m.measured(failed, rule))
	require.Equal(t, running, m.measured(successful, rule))
	require.Equal(t, running, m.measured(failed, rule))
	require.Equal(t, running, m.measured(successful, rule))
	require.Equal(t, failed, m.measured(failed, rule))
}

func TestArgoForgetsErrorsWhenAMeasurementSucceeds(t *testing.T) {
	rule := argo{failureLimit: 0, errorLimit: 4}
	var m argoMetric
	for range 4 {
		require.Equal(t, running, m.measured(errored, rule))
	}
	require.Equal(t, running, m.measured(successful, rule))
	for range 4 {
		require.Equal(t, running, m.measured(errored, rule))
	}
	require.Equal(t, errored, m.measured(errored, rule), "consecutiveErrors (5) > consecutiveErrorLimit (4)")
}

func TestArgoWithoutTrafficDependsOnHowTheConditionIsWritten(t *testing.T) {
	idle := story(many(15, 0, 0)...)
	gone := story(many(15, -1, 0)...)
	require.Equal(t, 1*time.Minute, argo{success: 0.95, failureLimit: 0, errorLimit: 4}.rollsAt(idle), "NaN meets no condition")
	require.Equal(t, 5*time.Minute, argo{success: 0.95, failureLimit: 0, errorLimit: 4}.rollsAt(gone), "the fifth error in a row")
	require.Zero(t, argo{success: 0.95, failureLimit: 0, errorLimit: 4, handled: true}.rollsAt(idle))
	require.Zero(t, argo{success: 0.95, failureLimit: 0, errorLimit: 4, handled: true}.rollsAt(gone))
}

func TestFlaggerRollsBackAfterFiveBadChecksInAllNotInARow(t *testing.T) {
	f := flagger{success: 0.99, p99: 0.5, threshold: 5}
	var minutes [][2]float64
	for range 5 {
		minutes = append(minutes, [2]float64{100, 2}, [2]float64{100, 0}, [2]float64{100, 0})
	}
	require.Equal(t, 13*time.Minute, f.rollsAt(story(minutes...)))
	require.Zero(t, f.rollsAt(story(minutes[:12]...)))
	require.Equal(t, 5*time.Minute, f.rollsAt(story(many(15, 0, 0)...)), "no values found is a failed check")
}

func TestThePlainReadingsDifferByWhatTheyWaitFor(t *testing.T) {
	broken := story(many(15, 1200, 60)...)
	at := func(ticks, lasting int) time.Duration {
		return plain{limit: 0.01, p99: 1, ticks: ticks, lasting: lasting}.rollsAt(broken)
	}
	require.Equal(t, interval, at(20, 1))
	require.Equal(t, 5*time.Minute+interval, at(4, 21))
	require.Equal(t, 5*time.Minute+interval, at(20, 21))
	blip := story(append(many(5, 1200, 0), append(many(1, 1200, 1200), many(9, 1200, 0)...)...)...)
	require.NotZero(t, plain{limit: 0.01, p99: 1, ticks: 20, lasting: 1}.rollsAt(blip))
	require.Zero(t, plain{limit: 0.01, p99: 1, ticks: 4, lasting: 21}.rollsAt(blip))
}

func TestTheBurnRateNeedsTheHourAsWell(t *testing.T) {
	h := story(many(20, 1200, 60)...)
	for range blocks {
		h.world.before = append(h.world.before, alerts.Tally{Requests: 6000, Errors: 12})
	}
	at := burnRate{factor: 14.4}.rollsAt(h)
	// 5 % over 15 of 60 minutes, and the usual before: 1.44 % is reached in the hour after some 15.
	require.Greater(t, at, 10*time.Minute)
	h.world.before = nil
	require.Equal(t, interval, burnRate{factor: 14.4}.rollsAt(h))
}

func TestThePercentileIsInterpolatedAsPrometheusDoes(t *testing.T) {
	r := reading{requests: 100}
	for i, upTo := range []float64{0, 0, 0, 0, 90, 98, 100, 100, 100, 100, 100} {
		r.slower[i] = 100 - upTo
	}
	require.InDelta(t, 0.25+0.25*(99-98)/2, r.p99(), 1e-12)
	require.True(t, math.IsNaN(reading{}.p99()))
}
