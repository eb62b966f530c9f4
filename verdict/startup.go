package verdict

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/alerts"
)

// checkBuckets says once, as soon as it is known, which services' histograms
// cannot resolve what their gates look for: at the next rollout it would be late.
func (e *Engine) checkBuckets(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, e.readingTime())
	defer cancel()
	for _, s := range e.services {
		if s.bucketsKnown {
			continue
		}
		scene := alerts.Scene{Window: e.opts.Window, Service: s.Service, Now: time.Now(), Interval: e.opts.Interval}
		advice, known, err := alerts.CheckBuckets(ctx, s.gates, scene)
		if err != nil {
			continue // whoever judges by the window says so
		}
		s.bucketsKnown = known
		if advice != "" {
			e.opts.Log.Warn("latency_p99 cannot tell what it should", zap.String("service", s.Name), zap.String("resolution", advice))
		}
	}
}
