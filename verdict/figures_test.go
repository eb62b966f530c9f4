package verdict

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

// figures are what the window is told now: name and labels, and the value.
func (w *world) figures() map[string]float64 {
	told := map[string]float64{}
	for _, s := range w.engine.Figures(time.Now()) {
		key := s.Metric.Name
		for _, l := range s.Labels {
			key += " " + l
		}
		told[key] = s.Value
	}
	return told
}

func TestWhatDecidedIsKeptForThePictureAndThenNoMore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.Empty(t, w.figures())
		w.register(alerts.Canary)
		w.pass(2 * time.Minute)
		require.Equal(t, 1.0, w.figures()["rollwatch_latency_edge api 1.0"])
		require.NotContains(t, w.figures(), "rollwatch_gate_observed api error_ratio", "it observed nothing")

		w.show(fires("error_ratio"))
		w.pass(tick)
		require.Equal(t, 0.041, w.figures()["rollwatch_gate_observed api error_ratio"])
		w.pass(tick)
		require.Equal(t, 0.041, w.figures()["rollwatch_gate_observed api error_ratio"], "the verdict is final, and whoever records has its next tick now")
		w.pass(time.Minute)
		require.Empty(t, w.figures(), "a line that goes on for ever would be no observation")
	})
}
