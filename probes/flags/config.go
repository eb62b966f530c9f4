// Package flags knows the configuration of feature flag stores. Reading them
// comes later: Open says so.
package flags

import (
	"fmt"
	"net/url"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// The kinds of stores, the values of `kind:`.
const (
	KindRedis   = "redis"   // keys ff:<flag>, ff:<flag>:company:<id>, ff:<flag>:workspace:<id>
	KindUnleash = "unleash" // an Unleash server's client API
)

// Config is one entry of the `flags:` section.
type Config struct {
	// Name of the target: the value of the label target.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// Kind of the store.
	Kind string `yaml:"kind" jsonschema:"required,enum=redis,enum=unleash"`
	// Redis names the redis target that holds the flags (kind redis).
	Redis string `yaml:"redis,omitempty"`
	// URL of the Unleash server (kind unleash). An entry whose URL is empty is left out.
	URL string `yaml:"url,omitempty" jsonschema:"example=http://unleash:4242/api"`
	// APIKey of the Unleash server (kind unleash).
	APIKey probe.Secret `yaml:"api_key,omitempty"`
	// APIKeyFile holds the key in place of api_key.
	APIKeyFile string `yaml:"api_key_file,omitempty" jsonschema:"example=/run/secrets/unleash_api_key"`
	// Required says whether the aggregate health fails while the target is down.
	Required *bool `yaml:"required,omitempty" jsonschema:"default=false"`
}

// TargetName is the entry's name.
func (c *Config) TargetName() string { return c.Name }

// Address is where the flags are kept.
func (c *Config) Address() string {
	if c.Kind == KindRedis && c.Redis != "" {
		return "redis:" + c.Redis
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// RequiredTarget says whether the aggregate health fails with this target. It
// does not by default: clients of a flag store go on with what they know.
func (c *Config) RequiredTarget() bool { return c.Required != nil && *c.Required }

// Validate names what contradicts itself.
func (c *Config) Validate() []probe.Fault {
	var faults []probe.Fault
	fault := func(path, problem, cure string) {
		faults = append(faults, probe.Fault{Path: path, Problem: problem, Cure: cure})
	}
	if c.Name == "" {
		fault("$.name", "no name", "give the target a name; it becomes the label target")
	}
	switch c.Kind {
	case KindRedis:
		if c.Redis == "" {
			fault("$.redis", "no redis target", "name an entry of the redis section, as in redis: main")
		}
		if c.URL != "" || !c.APIKey.Empty() || c.APIKeyFile != "" {
			fault("$.kind", "kind redis takes no url and no api key", "use kind: unleash, or leave them out")
		}
	case KindUnleash:
		if u, err := url.Parse(c.URL); err != nil || u.Host == "" {
			fault("$.url", "no address of an Unleash server", "write it as in http://unleash:4242/api")
		}
		if !c.APIKey.Empty() && c.APIKeyFile != "" {
			fault("$.api_key_file", "api_key and api_key_file at once", "keep one of them")
		}
		if c.Redis != "" {
			fault("$.redis", "kind unleash takes no redis target", "use kind: redis, or leave it out")
		}
	default:
		fault("$.kind", fmt.Sprintf("unknown kind %q", c.Kind), "use redis or unleash")
	}
	return faults
}

// Open answers probe.ErrNotReadYet.
func (c *Config) Open(probe.Links) (probe.Probe, error) {
	return nil, fmt.Errorf("flags %s: %w", c.Name, probe.ErrNotReadYet)
}
