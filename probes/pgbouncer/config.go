// Package pgbouncer reads a PgBouncer by its admin console: who is connected,
// who waits for how long, and what each pool may have.
package pgbouncer

import (
	"fmt"
	"net/url"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Config is one entry of the `pgbouncer:` section.
type Config struct {
	// Name of the target: the value of the label target.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// URL of the admin console (postgresql://stats:password@host:6432/pgbouncer). An entry whose URL is empty is left out.
	URL probe.Secret `yaml:"url,omitempty" jsonschema:"example=postgresql://stats:secret@127.0.0.1:6432/pgbouncer"`
	// URLFile holds the URL in place of url.
	URLFile string `yaml:"url_file,omitempty" jsonschema:"example=/run/secrets/pgbouncer_url"`
	// Required says whether the aggregate health fails while the target is down.
	Required *bool `yaml:"required,omitempty" jsonschema:"default=true"`
}

// TargetName is the entry's name.
func (c *Config) TargetName() string { return c.Name }

// Address is where the pooler is, without the password.
func (c *Config) Address() string {
	if c.URL.Empty() {
		return c.URLFile
	}
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || u.Host == "" {
		return "(not a URL)"
	}
	// The query is left out: it may hold a password too.
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// RequiredTarget says whether the aggregate health fails with this target.
func (c *Config) RequiredTarget() bool { return c.Required == nil || *c.Required }

// Validate names what contradicts itself.
func (c *Config) Validate() []probe.Fault {
	var faults []probe.Fault
	if c.Name == "" {
		faults = append(faults, probe.Fault{Path: "$.name", Problem: "no name", Cure: "give the target a name; it becomes the label target"})
	}
	if c.URL.Empty() && c.URLFile == "" {
		faults = append(faults, probe.Fault{
			Path: "$.url", Problem: "neither url nor url_file",
			Cure: "name the admin console, as in url: postgresql://stats@127.0.0.1:6432/pgbouncer",
		})
	}
	if !c.URL.Empty() && c.URLFile != "" {
		faults = append(faults, probe.Fault{Path: "$.url_file", Problem: "url and url_file at once", Cure: "keep one of them"})
	} else if !c.URL.Empty() {
		if _, err := c.parse(); err != nil {
			faults = append(faults, probe.Fault{Path: "$.url", Problem: err.Error(), Cure: "escape special characters of the password as %XX"})
		}
	}
	return faults
}

// Open makes the probe. A URL that cannot be used is an error at once.
func (c *Config) Open(probe.Links) (probe.Probe, error) {
	r := &reader{config: *c}
	if _, err := c.parse(); err != nil {
		return nil, fmt.Errorf("pgbouncer %s: %w", c.Name, err)
	}
	return r, nil
}

// Grants are the one line of PgBouncer's own configuration that lets a user ask
// and change nothing.
func (c *Config) Grants() probe.Grants {
	return probe.Grants{On: "pgbouncer:" + c.Name, SQL: []string{"-- in pgbouncer.ini: stats_users = rollwatch"}}
}
