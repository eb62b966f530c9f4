package alerts

import (
	"github.com/prometheus/common/model"
)

// Config is the `gates:` section: the built-in gates, tuned by name, and the
// user's own.
type Config struct {
	Tuned  map[string]Tuning // by the name of a Builtin gate
	Custom []Custom
}

// Tuning changes a built-in gate. What is left out keeps its default.
type Tuning struct {
	Limit    *float64        `yaml:"limit,omitempty"`
	For      *model.Duration `yaml:"for,omitempty"`
	Factor   *float64        `yaml:"factor,omitempty"`
	Mode     Mode            `yaml:"mode,omitempty" jsonschema:"enum=observe,enum=hold,enum=enforce"`
	Required *bool           `yaml:"required,omitempty"`
	// RequireDetectable is the ratio to the baseline that the traffic must be enough to find, before a rollout is promoted.
	RequireDetectable *float64 `yaml:"require_detectable,omitempty" jsonschema:"minimum=0"`
}

// A Custom gate is a PromQL signal with a limit, written by the user.
type Custom struct {
	Name     string         `yaml:"name" jsonschema:"required"`
	Service  string         `yaml:"service" jsonschema:"required"`
	Signal   string         `yaml:"signal" jsonschema:"required"`
	Above    *float64       `yaml:"above,omitempty"`
	Below    *float64       `yaml:"below,omitempty"`
	For      model.Duration `yaml:"for,omitempty"`
	Verdict  string         `yaml:"verdict,omitempty" jsonschema:"enum=rollback,enum=hold"`
	Mode     Mode           `yaml:"mode,omitempty" jsonschema:"enum=observe,enum=hold,enum=enforce"`
	Required *bool          `yaml:"required,omitempty"`
}
