package alerts

import (
	"context"
	"time"
)

// A Gate is a signal, a limit, for how long, and what it means when it fires.
// Builtin is the table of them; evaluation is pure.
type Gate struct {
	Name    string
	Help    string // one sentence for docs and `gate list`
	Mode    Mode
	Limit   float64
	Factor  float64
	For     time.Duration
	InGrace bool // may fire while the rollout warms up

	// Applies says whether the service configures the gate's signal; such a gate
	// is required unless told otherwise.
	Applies func(*Service) bool

	// Eval finds the state of the gate at scene.Now.
	Eval func(ctx context.Context, gate Gate, scene Scene) (Finding, error)
}

// Gates are the gates in force for one service: the built-in ones that apply,
// tuned, and the user's own.
func Gates(cfg Config, service *Service) []Gate { return nil }

// Evaluate finds what every gate says of the rollout at scene.Now. An error is
// a window that could not be read, not a finding.
func Evaluate(ctx context.Context, gates []Gate, scene Scene) ([]Finding, error) { return nil, nil }

// TakeBaseline measures what the service was like before scene.Subject started.
// The spans in not (rollouts that were rolled back) are left out.
func TakeBaseline(ctx context.Context, gates []Gate, scene Scene, not []Span) (Baseline, error) {
	return Baseline{}, nil
}
