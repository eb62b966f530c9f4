package verdict

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
)

// recorded is a blue-green rollout whose pods fail in 5 % of the requests from
// its start on, and what a judge has decided about it.
func onRecord(t *testing.T, failing float64) (Replay, []Moment) {
	t.Helper()
	const interval = 15 * time.Second
	start := time.Unix(7200, 0).UTC()
	service := &alerts.Service{Name: "api", Metrics: alerts.Metrics{
		Preset: "prom-client", Scrape: []collector.ScrapeTarget{{URL: "http://127.0.0.1/metrics"}},
	}}
	window := collector.NewMemory()
	story, total := chronicle{perTick: 300, failing: failing}, map[string]float64{}
	for at := start.Add(-time.Hour); !at.After(start.Add(20 * time.Minute)); at = at.Add(interval) {
		story.scrape(t, window, at, at.After(start), total)
	}
	replay := Replay{
		Window: window, Service: service, Gates: alerts.Gates(alerts.Config{}, service), Config: DefaultConfig(), Interval: interval,
		Until: start.Add(15 * time.Minute),
		History: History{Rollout: Rollout{
			ID: "r-1", Registration: Registration{Service: "api", Version: "2", Strategy: alerts.BlueGreen, Kind: Deploy, StartedAt: start}, RegisteredAt: start.Add(14 * time.Second),
		}},
	}
	moments, err := replay.Run(t.Context())
	require.NoError(t, err)
	var last Word
	for i, m := range moments {
		require.Empty(t, m.Then, "nothing is on record yet")
		if m.Now.Verdict != last {
			last = m.Now.Verdict
			doc := m.Now
			doc.Seq = int64(i)
			replay.History.Transitions = append(replay.History.Transitions, Transition{At: m.At, Document: doc})
		}
	}
	return replay, moments
}

func lastOf(moments []Moment) Moment { return moments[len(moments)-1] }

func TestReplayedUnchangedTheVerdictIsTheSameAtEveryTick(t *testing.T) {
	for want, failing := range map[Word]float64{Rollback: 0.05, Promote: 0} {
		replay, first := onRecord(t, failing)
		require.Equal(t, want, lastOf(first).Now.Verdict)
		decided := &replay.History.Transitions[1].At
		*decided = decided.Add(7 * time.Second) // the ticks of a judge are its own
		moments, err := replay.Run(t.Context())
		require.NoError(t, err)
		require.Greater(t, len(moments), 50)
		compared := false
		for _, m := range moments {
			if !m.At.Equal(decided.Add(-7 * time.Second)) {
				require.False(t, m.Differs(), "%s: %s then, %s now", m.At, m.Then, m.Now.Progress)
			}
			require.NotEmpty(t, m.Then)
			compared = compared || m.At.Equal(*decided)
		}
		require.True(t, compared, "what was decided is compared with the evidence of its very time")
	}
}

func TestReplayedWithAnotherLimitTheVerdictIsAnother(t *testing.T) {
	replay, _ := onRecord(t, 0.05)
	limit := 0.08
	replay.Gates = alerts.Gates(alerts.Config{Tuned: map[string]alerts.Tuning{"error_ratio": {Limit: &limit}}}, replay.Service)
	moments, err := replay.Run(t.Context())
	require.NoError(t, err)
	require.True(t, lastOf(moments).Differs())
	require.Equal(t, Rollback, lastOf(moments).Then)
	require.Equal(t, Promote, lastOf(moments).Now.Verdict)
}

func TestAReplayEndsWithTheRecordAndAppliesItsOverrides(t *testing.T) {
	replay, _ := onRecord(t, 0.05)
	start := replay.History.Rollout.StartedAt
	replay.History.Rollout.FinishedAt = start.Add(12 * time.Minute)
	replay.History.Overrides = []Override{{Verdict: Continue, Reason: "a load test", Author: "ada", At: start.Add(2 * time.Minute), Until: start.Add(8 * time.Minute)}}
	moments, err := replay.Run(t.Context())
	require.NoError(t, err)
	require.False(t, lastOf(moments).At.After(start.Add(12*time.Minute)))
	for _, m := range moments {
		if since := m.At.Sub(start); since >= 2*time.Minute && since < 8*time.Minute {
			require.Equal(t, Continue, m.Now.Verdict)
		}
	}
	require.Equal(t, Rollback, lastOf(moments).Now.Verdict, "on evidence from after the override")

	replay.History.Transitions[1].Document.SupersededBy = "r-2"
	_, end := replay.Span()
	require.True(t, end.Before(replay.History.Transitions[1].At), "what a newer rollout ended was not judged by evidence")
}

// The frozen baseline is kept, and read as the gates of the replay read it.
func TestAReplayKeepsTheBaselineAndFindsItsEdgeAnew(t *testing.T) {
	replay, _ := onRecord(t, 0)
	replay.History.Rollout.Baseline = alerts.Baseline{ID: "b-1", Kind: alerts.BaselineBefore, Requests: 1000, Errors: 2, Timed: 1000, Edges: []float64{0.1, 0.25, 0.5, 1}, Buckets: []float64{1000, 1000, 1000, 1000}}
	for factor, edge := range map[float64]float64{2: 0.25, 4: 0.5} {
		replay.Gates = alerts.Gates(alerts.Config{Tuned: map[string]alerts.Tuning{"latency_p99": {Factor: &factor}}}, replay.Service)
		trial, err := replay.trial(t.Context())
		require.NoError(t, err)
		require.Equal(t, "b-1", trial.rollout.Baseline.ID)
		require.Equal(t, edge, trial.rollout.Baseline.Edge)
	}
}

func TestTheHistoryIsReadFromTheFileOfALedgerInUse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		r := w.register(alerts.Rolling)
		w.pass(3 * time.Minute)
		_, err := w.engine.SetOverride(t.Context(), r.ID, Override{Verdict: HoldOn, Reason: "wait", Author: "ada", Until: time.Now().Add(time.Minute)})
		require.NoError(t, err)
		h, err := ReadHistory(t.Context(), w.path, r.ID)
		require.NoError(t, err)
		mine, err := w.engine.History(t.Context(), r.ID)
		require.NoError(t, err)
		require.Equal(t, mine, h)
		require.Len(t, h.Overrides, 1)
		require.Equal(t, []Word{Continue, HoldOn}, []Word{h.Transitions[0].Document.Verdict, h.Transitions[1].Document.Verdict})
		require.Len(t, h.Deliveries, 2)
		_, err = ReadHistory(t.Context(), w.path, "r-none")
		require.ErrorContains(t, err, `there is no rollout "r-none"`)
		_, err = ReadHistory(t.Context(), w.path+".none", r.ID)
		require.ErrorContains(t, err, "no such file")
	})
}
