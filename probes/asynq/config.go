// Package asynq reads the Asynq queues of a Redis: what is in them, how long it
// has waited and which servers work on it. It reads the keys themselves:
// Asynq's own Inspector runs Lua whose cost grows with the aggregation groups,
// and its list of servers deletes the expired ones.
package asynq

import (
	"fmt"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Kind is the value of `kind:` for these entries of the `queues:` section.
const Kind = "asynq"

// Config is an entry of kind asynq of the `queues:` section: all Asynq queues
// of one Redis.
type Config struct {
	// Name of the target: the value of the label target.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// Kind of the queues.
	Kind string `yaml:"kind" jsonschema:"required,enum=asynq"`
	// Redis names the redis target that the queues live on.
	Redis string `yaml:"redis" jsonschema:"required"`
	// Required says whether the aggregate health fails while the target is down.
	Required *bool `yaml:"required,omitempty" jsonschema:"default=true"`
}

// TargetName is the entry's name.
func (c *Config) TargetName() string { return c.Name }

// Address is the redis target that holds the queues.
func (c *Config) Address() string {
	if c.Redis == "" {
		return ""
	}
	return "redis:" + c.Redis + "/asynq:*"
}

// RequiredTarget says whether the aggregate health fails with this target.
func (c *Config) RequiredTarget() bool { return c.Required == nil || *c.Required }

// Validate names what contradicts itself.
func (c *Config) Validate() []probe.Fault {
	var faults []probe.Fault
	if c.Name == "" {
		faults = append(faults, probe.Fault{Path: "$.name", Problem: "no name", Cure: "give the target a name; it becomes the label target"})
	}
	if c.Redis == "" {
		faults = append(faults, probe.Fault{Path: "$.redis", Problem: "no redis target", Cure: "name an entry of the redis section, as in redis: main"})
	}
	return faults
}

// Open makes the probe.
func (c *Config) Open(links probe.Links) (probe.Probe, error) {
	client, err := links.Redis(c.Redis)
	if err != nil {
		return nil, fmt.Errorf("asynq %s: %w", c.Name, err)
	}
	return &reader{client: client, known: map[string]*queue{}}, nil
}

// Grants are what the probe asks of the Redis, and of which keys.
func (c *Config) Grants() probe.Grants {
	return probe.Grants{On: "redis:" + c.Redis, Commands: Commands, Keys: []string{"asynq:*"}}
}
