package verdict

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/feature"
)

// What users of other judges suffered, each as a test of that name. A tale has
// half an hour before the rollout, and series in promtool's notation, a value each
// 15 seconds.
type tale struct {
	service  alerts.Service
	config   alerts.Config
	strategy alerts.Strategy
	kind     Kind
	series   []collector.InputSeries
}

// calm is how long the tale goes before its rollout, in readings of its series.
const calm = 120

func shop() alerts.Service {
	return alerts.Service{Name: "shop", Metrics: alerts.Metrics{
		Preset: "prom-client", Scrape: []collector.ScrapeTarget{{URL: "http://127.0.0.1/metrics"}},
	}}
}

// canaryShop tells its canary from stable.
func canaryShop() alerts.Service {
	s := shop()
	s.Tracks = map[string]alerts.Labels{"canary": {"track": "canary"}, "stable": {"track": "stable"}}
	return s
}

func one(name, values string) collector.InputSeries {
	return collector.InputSeries{Series: name, Values: values}
}

// answers are requests that shop answered with a status.
func answers(status, values string, more ...string) collector.InputSeries {
	return one(`http_request_duration_seconds_count{job="shop",status_code="`+status+`"`+strings.Join(append([]string{""}, more...), ",")+`}`, values)
}

const up = `up{job="shop"}`

// sideBySide are a stable and a canary with a tenth of its traffic, and the
// failures of each ("": the series is not there).
func sideBySide(stable, canary string) []collector.InputSeries {
	series := []collector.InputSeries{
		answers("200", "0+3000x240", `track="stable"`), answers("200", "0x120 0+300x120", `track="canary"`),
		one(`up{job="shop",track="stable"}`, "1x240"), one(`up{job="shop",track="canary"}`, "1x240"),
	}
	for track, failures := range map[string]string{"stable": stable, "canary": canary} {
		if failures != "" {
			series = append(series, answers("500", failures, `track="`+track+`"`))
		}
	}
	return series
}

// judge judges at every tick up to the times, and returns the documents of them.
func (s tale) judge(t *testing.T, times ...time.Duration) []Document {
	t.Helper()
	window, err := collector.ParseMemory(tick, s.series)
	require.NoError(t, err)
	started := time.Unix(0, 0).Add(calm * tick)
	trial, err := NewTrial(t.Context(), window, &s.service, alerts.Gates(s.config, &s.service), DefaultConfig(), tick,
		Registration{Service: s.service.Name, Version: "2", Strategy: s.strategy, Kind: s.kind, StartedAt: started})
	require.NoError(t, err)
	docs := make([]Document, 0, len(times))
	var doc Document
	for now := started; len(docs) < len(times); now = now.Add(tick) {
		if !doc.Final { // what is final is not judged again
			doc, err = trial.At(t.Context(), now)
			require.NoError(t, err)
		}
		if now.Sub(started) >= times[len(docs)] {
			docs = append(docs, doc)
		}
	}
	return docs
}

func words(docs []Document) (words []Word) {
	for _, d := range docs {
		words = append(words, d.Verdict)
	}
	return words
}

// reasonOf finds the gate among the reasons.
func reasonOf(t *testing.T, doc Document, gate string) alerts.Finding {
	t.Helper()
	for _, f := range doc.Reasons {
		if f.Gate == gate {
			return f
		}
	}
	require.Fail(t, gate+" is no reason", doc.Progress)
	return alerts.Finding{}
}

func TestAnEmptyResultAbortedMyRollout(t *testing.T) {
	docs := tale{service: shop(), strategy: alerts.BlueGreen}.judge(t, 0, 4*time.Minute, 6*time.Minute, 11*time.Minute)
	require.Equal(t, []Word{Continue, Continue, HoldOn, HoldOn}, words(docs))
	require.Equal(t, alerts.NoSeries, docs[0].Missing[0].State, "a state of its own, and no number")
	require.True(t, docs[3].Final)
}

func TestItShouldPauseWhileThereIsNoDataAndResumeAfterwards(t *testing.T) {
	docs := tale{service: shop(), strategy: alerts.Rolling, series: []collector.InputSeries{
		answers("200", "0+300x160 _x40 48000+300x400"), one(up, "1x160 _x40 1x400"),
	}}.judge(t, 9*time.Minute, 15*time.Minute, 21*time.Minute, 30*time.Minute)
	require.Equal(t, []Word{Continue, HoldOn, Continue, Continue}, words(docs))
	require.Equal(t, "error_ratio", docs[1].Missing[0].Gate)
	require.False(t, docs[1].Missing[0].Since.IsZero(), "and since when")
}

func TestNoTrafficAtNightRolledUsBack(t *testing.T) {
	docs := tale{service: shop(), strategy: alerts.BlueGreen, series: []collector.InputSeries{
		answers("200", "5000+0x200"), one(up, "1x200"),
	}}.judge(t, 4*time.Minute, 6*time.Minute)
	require.Equal(t, []Word{Continue, HoldOn}, words(docs))
	require.Equal(t, alerts.NoTraffic, docs[1].Missing[0].State)
}

func TestAServiceThatNeverFailsHasNoSeriesOfFailures(t *testing.T) {
	docs := tale{service: shop(), strategy: alerts.BlueGreen, series: []collector.InputSeries{
		answers("200", "0+300x200"), one(up, "1x200"), // and no series of any 5xx
		one(`http_request_duration_seconds_bucket{job="shop",status_code="200",le="0.1"}`, "0+300x200"),
		one(`http_request_duration_seconds_bucket{job="shop",status_code="200",le="0.5"}`, "0+300x200"),
		one(`http_request_duration_seconds_bucket{job="shop",status_code="200",le="+Inf"}`, "0+300x200"),
	}}.judge(t, 5*time.Minute+2*tick)
	require.Equal(t, Promote, docs[0].Verdict, docs[0].Progress)
}

func TestEveryMeasurementFailedAndItWasCalledASuccess(t *testing.T) {
	docs := tale{service: shop(), strategy: alerts.BlueGreen, series: []collector.InputSeries{
		answers("200", "0+300x120"), one(up, "1x120 0x120"),
	}}.judge(t, 6*time.Minute, 11*time.Minute)
	require.NotContains(t, words(docs), Promote)
}

func TestACheckThatNeverRanPassed(t *testing.T) {
	service := shop()
	service.Features = []*feature.Config{{Name: "login", HTTP: &feature.Request{URL: "http://127.0.0.1/login"}}}
	docs := tale{service: service, strategy: alerts.BlueGreen, series: []collector.InputSeries{
		answers("200", "0+300x200"), one(up, "1x200"), // nothing ever tried to log in
	}}.judge(t, 6*time.Minute)
	require.Equal(t, HoldOn, docs[0].Verdict)
	require.Contains(t, docs[0].Progress, "critical_feature")
}

func TestWhileWeLearnToTrustItItMustNotAbort(t *testing.T) {
	broken := []collector.InputSeries{answers("200", "0+300x120 36000+150x120"), answers("500", "0x120 0+150x120"), one(up, "1x240")}
	enforced := tale{service: shop(), strategy: alerts.Rolling, series: broken}
	require.Equal(t, Rollback, enforced.judge(t, 7*time.Minute)[0].Verdict)
	held := enforced
	held.config.Tuned = map[string]alerts.Tuning{}
	for _, gate := range alerts.Builtin {
		held.config.Tuned[gate.Name] = alerts.Tuning{Mode: alerts.Hold}
	}
	require.Equal(t, HoldOn, held.judge(t, 7*time.Minute)[0].Verdict)
	for name := range held.config.Tuned {
		held.config.Tuned[name] = alerts.Tuning{Mode: alerts.Observe}
	}
	observed := held.judge(t, 7*time.Minute)[0]
	require.Equal(t, Continue, observed.Verdict)
}

func TestAfterIResumedItItStoppedAgainForTheSameReason(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		w.show(fires("error_ratio"))
		w.pass(2 * time.Minute)
		require.Equal(t, Rollback, w.verdict(r.ID).Verdict)
		overridden := time.Now().UTC()
		_, err := w.engine.SetOverride(t.Context(), r.ID, Override{Verdict: Continue, Reason: "a customer's load test", Author: "ana", Until: overridden.Add(10 * time.Minute)})
		require.NoError(t, err)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict)
		w.show()
		w.pass(11 * time.Minute)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict, "and not the old rollback again")
		require.False(t, w.lastScene().After.Before(overridden), "what came before is no evidence any more")
	})
}

func TestItFailedAndDidNotSayWhy(t *testing.T) {
	doc := tale{service: shop(), strategy: alerts.Rolling, series: []collector.InputSeries{
		answers("200", "0+300x120 36000+270x120"), answers("500", "0x120 0+30x120"), one(up, "1x240"),
	}}.judge(t, 7*time.Minute)[0]
	why := reasonOf(t, doc, "error_ratio")
	require.InDelta(t, 0.1, *why.Observed, 0.001)
	require.InDelta(t, 0.01, *why.Limit, 0)
	require.NotNil(t, why.Baseline)
	require.Positive(t, why.N)
	require.Equal(t, "5m", why.Window)
	require.False(t, why.Since.IsZero())
	require.Contains(t, why.Query, "http_request_duration_seconds_count")
	require.Greater(t, why.Evidence.Guard, why.Evidence.Needed)
	require.Contains(t, doc.Progress, "10%")
}

func TestTheCanaryDrownedInTheTrafficOfStable(t *testing.T) {
	doc := tale{service: canaryShop(), strategy: alerts.Canary, series: []collector.InputSeries{
		answers("200", "0+29700x240", `track="stable"`), answers("200", "0x120 0+240x120", `track="canary"`),
		answers("500", "0x120 0+60x120", `track="canary"`), // 20 % of the canary, 0.2 % of all
		one(`up{job="shop",track="stable"}`, "1x240"), one(`up{job="shop",track="canary"}`, "1x240"),
	}}.judge(t, 4*time.Minute)[0]
	require.Equal(t, Rollback, doc.Verdict, doc.Progress)
	require.Equal(t, "canary", reasonOf(t, doc, "canary_errors").Scope["track"])
}

func TestSevenBadMinutesOfTenPassed(t *testing.T) {
	// A hundred times the failures in seven minutes of ten: a test of ranks over a
	// point a minute passes it.
	doc := tale{service: canaryShop(), strategy: alerts.Canary, series: sideBySide("0+1x240", "0x120 0+10x28 280x92")}.judge(t, 10*time.Minute)[0]
	require.Equal(t, Rollback, doc.Verdict, doc.Progress)
	require.Equal(t, alerts.Firing, reasonOf(t, doc, "canary_errors").State)
}

func TestAFewFailuresAgainstNonePassed(t *testing.T) {
	doc := tale{service: canaryShop(), strategy: alerts.Canary, series: sideBySide("", "0x120 0+1x120")}.judge(t, 12*time.Minute)[0]
	require.Equal(t, Rollback, doc.Verdict, doc.Progress)
	why := reasonOf(t, doc, "canary_errors")
	require.Zero(t, why.Baseline.Value, "that stable has none is the easy case")
}

func TestItNeededFiftyPointsBeforeItSaidAnything(t *testing.T) {
	doc := tale{service: canaryShop(), strategy: alerts.Canary, series: sideBySide("0+6x240", "0x120 0+30x120")}.judge(t, 2*time.Minute+tick)[0]
	require.Equal(t, Rollback, doc.Verdict, "nine points: %s", doc.Progress)
	thin := tale{service: canaryShop(), strategy: alerts.Canary, series: sideBySide("0+6x240", "0x240")}.judge(t, 2*time.Minute)[0]
	require.Greater(t, thin.MinDetectable["canary_errors"], 1.5, "and what it could not have found it says")
}

func TestQueueWorkersHaveNoTrafficToShiftOrMeasure(t *testing.T) {
	workers := func(track, completed, failed string) []collector.InputSeries {
		labels := `{job="worker",instance="` + track + `:1",track="` + track + `"}`
		return []collector.InputSeries{
			one("up"+labels, "1x240"), one("jobs_completed_total"+labels, completed), one("jobs_failed_total"+labels, failed),
		}
	}
	service := alerts.Service{
		Name: "worker", Metrics: alerts.Metrics{Scrape: []collector.ScrapeTarget{{URL: "http://127.0.0.1/metrics"}}}, Tracks: canaryShop().Tracks,
		Completions: "jobs_completed_total", Failures: "jobs_failed_total",
	}
	for gate, canary := range map[string][]collector.InputSeries{
		"queue_rate":     workers("canary", "_x120 0+75x120", "_x120 0+1x120"),
		"queue_failures": workers("canary", "_x120 0+150x120", "_x120 0+20x120"),
		"":               workers("canary", "_x120 0+150x120", "_x120 0+1x120"),
	} {
		doc := tale{service: service, strategy: alerts.Canary, series: append(workers("stable", "0+150x240", "0+1x240"), canary...)}.judge(t, 15*time.Minute)[0]
		if gate == "" {
			require.Equal(t, Promote, doc.Verdict, doc.Progress)
			continue
		}
		require.Equal(t, Rollback, doc.Verdict, doc.Progress)
		require.Equal(t, alerts.Firing, reasonOf(t, doc, gate).State)
	}
}

func TestTheRollbackOfABadVersionWasAnalysedAgain(t *testing.T) {
	slow := []collector.InputSeries{answers("200", "0+300x120 36000+270x120"), answers("500", "0x120 0+30x120"), one(up, "1x240")}
	docs := tale{service: shop(), strategy: alerts.Rolling, kind: KindOfRollback, series: slow}.judge(t, 7*time.Minute)
	require.Equal(t, Continue, docs[0].Verdict, "what is being rolled back may well fail: only whether it serves counts")
}

func TestAThresholdWasCrossedWhileAHumanHesitated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.BlueGreen)
		w.pass(20 * time.Minute) // promoted long ago, and nobody pressed the button
		require.Equal(t, Promote, w.verdict(r.ID).Verdict)
		w.show(fires("error_ratio"))
		w.pass(tick)
		require.Equal(t, Rollback, w.verdict(r.ID).Verdict)
	})
}

func TestNobodyWasToldOfAFailureOutsideTheAnalysis(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.BlueGreen)
		w.pass(90 * time.Minute)
		told := len(w.deliveries("deployer"))
		lost := alerts.Finding{Gate: "error_ratio", State: alerts.SourceDown, Mode: alerts.Enforce, Required: true, Seen: true, LastSeen: time.Now().Add(-3 * time.Minute)}
		w.show(lost)
		w.pass(tick)
		require.Equal(t, HoldOn, w.verdict(r.ID).Verdict)
		require.Len(t, w.deliveries("deployer"), told+1, "that it cannot judge is news")
		w.show(fires("latency_p99"))
		w.pass(tick)
		require.Len(t, w.deliveries("deployer"), told+2)
	})
}

func TestABadVersionBecameTheBaselineOfTheNext(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		bad := w.register(alerts.BlueGreen)
		w.pass(3 * time.Minute)
		w.show(fires("error_ratio"))
		w.pass(2 * time.Minute)
		_, err := w.engine.Finish(t.Context(), bad.ID, RolledBack)
		require.NoError(t, err)
		w.show()
		w.pass(10 * time.Minute)
		next := w.register(alerts.BlueGreen)
		require.Equal(t, "b", next.Baseline.ID, "and it says which baseline it goes by")
		require.Len(t, w.notFrom, 1)
		require.Equal(t, bad.StartedAt, w.notFrom[0].From)
	})
}

func TestAGrowthFromZeroIsNoInfiniteGrowth(t *testing.T) {
	series := []collector.InputSeries{answers("200", "0+300x240"), answers("500", "0x130 1x110"), one(up, "1x240")}
	docs := tale{service: shop(), strategy: alerts.Rolling, series: series}.judge(t, 7*time.Minute)
	require.Equal(t, Continue, docs[0].Verdict, "one failure after none")
	require.Empty(t, docs[0].Reasons)
}

func TestTheReasonGivenWasNotTheReason(t *testing.T) {
	doc := tale{service: canaryShop(), strategy: alerts.Canary, series: sideBySide("0+1x240", "0x120 0+60x120")}.judge(t, 10*time.Minute)[0]
	require.Equal(t, Rollback, doc.Verdict)
	first := doc.Reasons[0]
	require.Equal(t, alerts.Firing, first.State)
	require.Contains(t, doc.Progress, first.Message, "the sentence is that of the gate that decided")
}

func TestTheFirstDeploymentWasNotAnalysed(t *testing.T) {
	newborn := func(failing string) tale {
		return tale{service: shop(), strategy: alerts.BlueGreen, series: []collector.InputSeries{
			answers("200", "_x120 0+300x120"), answers("500", failing), one(up, "_x120 1x120"),
			one(`process_start_time_seconds{job="shop"}`, "_x120 1795+0x120"),
			one(`http_request_duration_seconds_bucket{job="shop",status_code="200",le="0.1"}`, "_x120 0+300x120"),
			one(`http_request_duration_seconds_bucket{job="shop",status_code="200",le="+Inf"}`, "_x120 0+300x120"),
		}}
	}
	good := newborn("_x120 0x120").judge(t, 6*time.Minute)[0]
	require.Equal(t, Promote, good.Verdict, good.Progress)
	bad := newborn("_x120 0+30x120").judge(t, 6*time.Minute)[0]
	require.Equal(t, Rollback, bad.Verdict, bad.Progress)
	require.Equal(t, "none", reasonOf(t, bad, "error_ratio").Baseline.Kind)
}

func TestEveryDeployShipsAColdFleet(t *testing.T) {
	// Two in a hundred fail for the first minute, and a third of the requests is slow.
	docs := tale{service: shop(), strategy: alerts.BlueGreen, series: []collector.InputSeries{
		answers("200", "0+300x120 36294+294x3 37476+300x120"), answers("500", "0x120 6+6x3 24x120"), one(up, "1x240"),
		one(`http_request_duration_seconds_bucket{job="shop",status_code="200",le="0.1"}`, "0+300x120 36200+200x3 37100+300x120"),
		one(`http_request_duration_seconds_bucket{job="shop",status_code="200",le="0.5"}`, "0+300x120 36200+200x3 37100+300x120"),
		one(`http_request_duration_seconds_bucket{job="shop",status_code="200",le="+Inf"}`, "0+300x120 36300+300x3 37500+300x120"),
	}}.judge(t, time.Minute, 3*time.Minute, 5*time.Minute+2*tick, 7*time.Minute)
	require.Equal(t, []Word{Continue, Continue, HoldOn, Promote}, words(docs), "at worst it takes a minute more: %s", docs[2].Progress)
}

func TestAWebhookThatFailedCountedAsAFailedCheck(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.BlueGreen)
		require.NotEmpty(t, w.deliveries("deployer"), "owed, and nobody takes it")
		w.pass(5*time.Minute + 2*tick)
		require.Equal(t, Promote, w.verdict(r.ID).Verdict)
	})
}
