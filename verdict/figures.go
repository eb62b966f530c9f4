package verdict

import (
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// What gates saw, as the window keeps it.
var (
	observedFigure = &probe.Metric{Name: gateObservedName, Type: probe.Gauge, Labels: []string{"service", "gate"}}
	edgeFigure     = &probe.Metric{Name: latencyEdgeName, Type: probe.Gauge, Labels: []string{"service", "le"}}
)

// Figures are what the gates of the newest rollout of each service observed, as it is
// at now: a post-mortem draws them long after the rollout, when no gate that compares
// or walks queues could be asked again. A final verdict is told for as long as any
// judgement is believed, so that what decided is among them, and then no more.
func (e *Engine) Figures(now time.Time) []probe.Sample {
	var all []probe.Sample
	for _, w := range e.newestWatches() {
		r, doc := w.now()
		if _, err := e.serve(doc, r.ID, now); err != nil || now.Sub(doc.AsOf) > e.policy.Validity {
			continue
		}
		if le := r.Baseline.LE; le != "" {
			all = append(all, edgeFigure.Sample(1, r.Service, le))
		}
		for _, f := range decisiveFirst(doc) {
			if f.Observed != nil {
				all = append(all, observedFigure.Sample(*f.Observed, r.Service, f.Gate))
			}
		}
	}
	return all
}

// decisiveFirst is one finding of each gate: of one with several scopes the one that
// decided.
func decisiveFirst(doc Document) []alerts.Finding {
	var found []alerts.Finding
	seen := make(map[string]bool)
	for _, f := range slices.Concat(doc.Reasons, doc.Findings) {
		if !seen[f.Gate] {
			seen[f.Gate] = true
			found = append(found, f)
		}
	}
	return found
}
