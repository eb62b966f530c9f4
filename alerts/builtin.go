package alerts

import (
	"cmp"
	"slices"
	"time"
)

// Builtin is the table of gates that need no configuration. It is what
// documentation, rules, dashboards and tests range over.
var Builtin = []Gate{
	errorRatio, outage, latencyP99, canaryErrors, canaryLatency, tenantErrors, queueRate, queueFailures, queueStalled, queueFailed,
	poolExhausted, targetDown, dataCorruption, criticalFeature,
}

// inGrace are the gates that may fire while a rollout warms up, by name, the
// ones that other sources feed included. Everything else waits for the end of
// the grace.
var inGrace = []string{"outage", "data_corruption", "critical_feature"}

// FiresInGrace says whether the gate with that name may fire while a rollout
// warms up.
func FiresInGrace(gate string) bool { return slices.Contains(inGrace, gate) }

// Gates are the gates in force for one service: the built-in ones that apply,
// tuned, and the user's own.
func Gates(cfg Config, service *Service) []Gate {
	var gates []Gate
	for _, gate := range Builtin {
		if gate.Applies(service) {
			gates = append(gates, gate.tuned(cfg.Tuned[gate.Name]))
		}
	}
	for _, custom := range cfg.Custom {
		if custom.Service == service.Name {
			gates = append(gates, custom.gate())
		}
	}
	return gates
}

// tuned is the gate with what the user changed.
func (g Gate) tuned(t Tuning) Gate {
	if t.Limit != nil {
		g.Limit = *t.Limit
	}
	if t.For != nil {
		g.For = time.Duration(*t.For)
	}
	if t.Factor != nil {
		g.Factor = *t.Factor
	}
	if t.RequireDetectable != nil {
		g.RequireDetectable = t.RequireDetectable
		g.Required = g.Required || *t.RequireDetectable > 0
	}
	g.Mode = cmp.Or(t.Mode, g.Mode)
	g.InGrace = FiresInGrace(g.Name)
	g.Required = required(t.Required, g.Mode, g.Required)
	return g
}

// required resolves whether a gate's missing blocks promotion. What only
// observes decides nothing, its missing neither, unless somebody asks for it.
func required(asked *bool, mode Mode, otherwise bool) bool {
	if asked != nil {
		return *asked
	}
	return otherwise && mode != Observe
}
