// Package flags reads where the feature flags of an application are kept, in
// Redis or on an Unleash server: what each is set to, when that changed, and
// which should have been removed.
package flags

import (
	"cmp"
	"fmt"
	"net/url"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// The kinds of stores, the values of `kind:`.
const (
	KindRedis   = "redis"   // keys ff:<flag>, ff:<flag>:company:<id>, ff:<flag>:workspace:<id>
	KindUnleash = "unleash" // an Unleash server's client API
)

// DefaultPrefix is the prefix of the keys of flags in Redis.
const DefaultPrefix = "ff"

// Config is one entry of the `flags:` section.
type Config struct {
	// Name of the target: the value of the label target.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// Kind of the store.
	Kind string `yaml:"kind" jsonschema:"required,enum=redis,enum=unleash"`
	// Redis names the redis target that holds the flags (kind redis).
	Redis string `yaml:"redis,omitempty"`
	// Prefix of the flags' keys (kind redis): <prefix>:<flag>, <prefix>:<flag>:company:<id>, <prefix>:<flag>:workspace:<id>.
	Prefix string `yaml:"prefix,omitempty" jsonschema:"default=ff"`
	// URL of the Unleash server (kind unleash). An entry whose URL is empty is left out.
	URL string `yaml:"url,omitempty" jsonschema:"example=http://unleash:4242/api"`
	// APIKey of the Unleash server (kind unleash).
	APIKey probe.Secret `yaml:"api_key,omitempty"`
	// APIKeyFile holds the key in place of api_key.
	APIKeyFile string `yaml:"api_key_file,omitempty" jsonschema:"example=/run/secrets/unleash_api_key"`
	// RegistryFile lists the application's flags, YAML or JSON, each with the day of its expectedRemoval.
	RegistryFile string `yaml:"registry_file,omitempty" jsonschema:"example=/etc/rollwatch/flags.yml"`
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
		if c.Redis != "" || c.Prefix != "" {
			fault("$.redis", "kind unleash takes no redis target and no prefix", "use kind: redis, or leave them out")
		}
	default:
		fault("$.kind", fmt.Sprintf("unknown kind %q", c.Kind), "use redis or unleash")
	}
	return faults
}

// Open makes the probe.
func (c *Config) Open(links probe.Links) (probe.Probe, error) {
	r := &reader{registryFile: c.RegistryFile, past: map[string]history{}}
	if c.RegistryFile != "" {
		r.listed = probe.View{Name: viewRegistry, State: probe.ViewAbsent}
	}
	if c.Kind == KindUnleash {
		r.store = newUnleash(c.URL, c.key)
		return r, nil
	}
	client, err := links.Redis(c.Redis)
	if err != nil {
		return nil, fmt.Errorf("flags %s: %w", c.Name, err)
	}
	r.store = &redisStore{client: client, prefix: c.prefix(), scan: probe.View{Name: viewScan, State: probe.ViewAbsent}}
	return r, nil
}

func (c *Config) prefix() string { return cmp.Or(c.Prefix, DefaultPrefix) }

// Off says in one line where a flag is switched off for everybody who has no value
// of their own: the command for Redis, or what to toggle on the Unleash server.
func (c *Config) Off(flag string) string {
	if c.Kind == KindUnleash {
		return "unleash " + c.Name + ": toggle " + flag + " off"
	}
	return "redis " + c.Redis + ": SET " + c.prefix() + ":" + flag + " false"
}

// OverrideKey is the pattern of the keys under which those of a scope (one of
// Scopes) have values of their own.
func (c *Config) OverrideKey(flag, scope string) string {
	return c.prefix() + ":" + flag + ":" + scope + ":<id>"
}

// key is the key of the Unleash server as it is now.
func (c *Config) key() (probe.Secret, error) {
	if c.APIKeyFile != "" {
		return probe.ReadSecretFile(c.APIKeyFile)
	}
	return c.APIKey, nil
}

// Grants are what a store in Redis is asked, and of which keys.
func (c *Config) Grants() probe.Grants {
	if c.Kind != KindRedis {
		return probe.Grants{}
	}
	return probe.Grants{On: "redis:" + c.Redis, Commands: Commands, Keys: []string{c.prefix() + ":*"}}
}
