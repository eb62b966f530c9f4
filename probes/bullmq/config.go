// Package bullmq reads the BullMQ queues of a Redis: what is in them, how long
// it has waited and who works on it. It reads the keys themselves: BullMQ's own
// getters run Lua that may write.
package bullmq

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Kind is the value of `kind:` for these entries of the `queues:` section.
const Kind = "bullmq"

// The defaults of a Config.
const (
	DefaultPrefix    = "bull"
	DefaultMaxFailed = 100
)

// Config is an entry of kind bullmq of the `queues:` section: all queues of one
// prefix on one Redis.
type Config struct {
	// Name of the target: the value of the label target.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// Kind of the queues.
	Kind string `yaml:"kind" jsonschema:"required,enum=bullmq"`
	// Redis names the redis target that the queues live on.
	Redis string `yaml:"redis" jsonschema:"required"`
	// Prefix of the queues' keys, as BullMQ's option prefix; it may hold ":" and a {hash tag}.
	Prefix string `yaml:"prefix,omitempty" jsonschema:"default=bull"`
	// Only lists the queues to read; without it all queues of the prefix are discovered.
	Only []string `yaml:"only,omitempty"`
	// MaxFailed is the number of failed jobs kept in all queues together at which the target counts as down in the health document; 0 is never.
	MaxFailed *int `yaml:"max_failed,omitempty" jsonschema:"minimum=0,default=100"`
	// WorkerTracks tells the workers of a track by their name: a regular expression for each track, as in {canary: '^v2-'}. Where only canary is named, all others are stable.
	WorkerTracks map[string]string `yaml:"worker_tracks,omitempty"`
	// Required says whether the aggregate health fails while the target is down.
	Required *bool `yaml:"required,omitempty" jsonschema:"default=true"`
}

// TargetName is the entry's name.
func (c *Config) TargetName() string { return c.Name }

// Address is the prefix of the keys and the redis target that holds them.
func (c *Config) Address() string {
	if c.Redis == "" {
		return ""
	}
	return "redis:" + c.Redis + "/" + c.prefix() + ":*"
}

// RequiredTarget says whether the aggregate health fails with this target.
func (c *Config) RequiredTarget() bool { return c.Required == nil || *c.Required }

func (c *Config) prefix() string { return cmp.Or(c.Prefix, DefaultPrefix) }

func (c *Config) maxFailed() int {
	if c.MaxFailed == nil {
		return DefaultMaxFailed
	}
	return *c.MaxFailed
}

// Validate names what contradicts itself.
func (c *Config) Validate() []probe.Fault {
	var faults []probe.Fault
	fault := func(path, problem, cure string) {
		faults = append(faults, probe.Fault{Path: path, Problem: problem, Cure: cure})
	}
	if c.Name == "" {
		fault("$.name", "no name", "give the target a name; it becomes the label target")
	}
	if c.Redis == "" {
		fault("$.redis", "no redis target", "name an entry of the redis section, as in redis: main")
	}
	if strings.HasSuffix(c.Prefix, ":") {
		fault("$.prefix", "the prefix ends with a colon, which BullMQ adds itself", "leave the last colon out")
	}
	for i, name := range c.Only {
		if !validName(name) {
			fault(fmt.Sprintf("$.only[%d]", i), fmt.Sprintf("%q cannot be the name of a BullMQ queue", name),
				"give the name without prefix: no colon, at most 256 bytes of UTF-8")
		}
	}
	if c.maxFailed() < 0 {
		fault("$.max_failed", "a negative number of jobs", "use 0 for no limit")
	}
	for track, pattern := range c.WorkerTracks {
		if _, err := regexp.Compile(pattern); err != nil {
			fault("$.worker_tracks."+track, fmt.Sprintf("not a regular expression: %v", err), "write it as in '^v2-'")
		}
	}
	return faults
}

// Open makes the probe.
func (c *Config) Open(links probe.Links) (probe.Probe, error) {
	client, err := links.Redis(c.Redis)
	if err != nil {
		return nil, fmt.Errorf("bullmq %s: %w", c.Name, err)
	}
	tracks := make(map[string]*regexp.Regexp, len(c.WorkerTracks))
	for track, pattern := range c.WorkerTracks {
		if tracks[track], err = regexp.Compile(pattern); err != nil {
			return nil, fmt.Errorf("bullmq %s: track %s: %w", c.Name, track, err)
		}
	}
	return &reader{
		client: client, prefix: c.prefix(), maxFailed: c.maxFailed(), tracks: tracks,
		known: newKnown(c.prefix(), c.Only),
	}, nil
}

// Grants are what the probe asks of the Redis, and of which keys.
func (c *Config) Grants() probe.Grants {
	return probe.Grants{On: "redis:" + c.Redis, Commands: Commands, Keys: []string{c.prefix() + ":*"}}
}
