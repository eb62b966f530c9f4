package verdict

import (
	"slices"

	"github.com/rollwatch/rollwatch/alerts"
)

// firstLook are the gates that a phase of a rolling watch is about: whether it
// serves at all, then whether it serves as before, then what only shows with
// time, as lag, growth and the faults of single tenants: every other gate.
var firstLook = [][]string{
	{"target_down", "outage", "error_ratio", "canary_errors", "data_corruption", "critical_feature"},
	{"latency_p99", "canary_latency", "queue_rate", "queue_failures", "queue_stalled", "queue_failed", "pool_exhausted"},
}

// looksAt are the gates among the findings that the rollout's phase looks at
// first, in the order of the findings. Every gate counts in every phase: this
// tells a reader where to look. A watch of one phase looks at all.
func (c *sitting) looksAt() []string {
	phases := c.policy.Phases(c.Strategy)
	i := slices.Index(phases, c.policy.Phase(c.Strategy, c.elapsed))
	if len(phases) < 2 || i < 0 {
		return nil
	}
	var gates []string
	for _, f := range c.findings {
		if at := phaseOf(f); !slices.Contains(gates, f.Gate) && (at == i || i == len(phases)-1 && at > i) {
			gates = append(gates, f.Gate)
		}
	}
	return gates
}

// phaseOf is the phase that looks at the finding first.
func phaseOf(f alerts.Finding) int {
	for i, gates := range firstLook {
		if slices.Contains(gates, f.Gate) {
			return i
		}
	}
	return len(firstLook)
}
