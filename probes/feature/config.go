// Package feature tries the critical features of a service, as its tenants
// would: one HTTP request, or several in order, for each tenant in turn, at a
// bounded rate. It knows of each tenant whether the feature works, since when it
// does not, and how old that knowledge is.
package feature

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/probes/http"
	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// The defaults of a Config.
const (
	DefaultInterval     = model.Duration(30 * time.Second)
	DefaultTimeout      = model.Duration(3 * time.Second)
	DefaultMaxPerSecond = 10
)

// Config is one entry of a service's `features:`.
type Config struct {
	// Service is whose feature it is; whoever decodes the service sets it.
	Service string `yaml:"-" json:"-"`
	// Name of the feature.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// HTTP is the request that tries the feature, where one is enough.
	HTTP *Request `yaml:"http,omitempty"`
	// Steps are requests in order, in place of http: the feature works when each is answered as expected.
	Steps []Request `yaml:"steps,omitempty"`
	// Tenants says for whom the feature is tried; without it once, for nobody in particular.
	Tenants Tenants `yaml:"tenants,omitempty"`
	// Interval between two tries for one tenant. With more tenants than max_per_second allows it becomes longer, and the series say how long.
	Interval model.Duration `yaml:"interval,omitempty" jsonschema:"default=30s"`
	// Timeout of one try, all its steps together.
	Timeout model.Duration `yaml:"timeout,omitempty" jsonschema:"default=3s"`
	// MaxPerSecond bounds the tries in a second, over all tenants.
	MaxPerSecond float64 `yaml:"max_per_second,omitempty" jsonschema:"default=10"`
	// Required says whether the aggregate health fails while the feature fails for a tenant.
	Required *bool `yaml:"required,omitempty" jsonschema:"default=false"`
}

// A Request is one step of a try. In url, headers and body, {{.tenant}} is the
// tenant, and {{.NAME}} what an earlier step saved; the url takes both escaped,
// the body as the inside of a JSON string.
type Request struct {
	// Method of the request.
	Method string `yaml:"method,omitempty" jsonschema:"enum=GET,enum=HEAD,enum=POST,enum=PUT,enum=PATCH,enum=DELETE,default=GET"`
	// URL of the request, http or https.
	URL string `yaml:"url" jsonschema:"required,example=http://127.0.0.1:3001/features/login?tenant={{.tenant}}"`
	// Headers of the request. They are kept like secrets, as tokens often stand in them.
	Headers map[string]probe.Secret `yaml:"headers,omitempty"`
	// Body of the request.
	Body string `yaml:"body,omitempty"`
	// Expect says what the answer must look like; without it any 2xx will do. Redirects are not followed: they are answers.
	Expect http.Expect `yaml:"expect,omitempty"`
	// Save keeps fields of the answer's JSON for later steps, by the path of the field, as in {token: data.token}.
	Save map[string]string `yaml:"save,omitempty"`
}

// Tenants says for whom a feature is tried: a list, a file, or a query.
type Tenants struct {
	// List of tenants.
	List []string `yaml:"list,omitempty"`
	// File with one tenant a line; it is read again every few minutes.
	File string `yaml:"file,omitempty"`
	// Postgres names the postgres target that query runs on.
	Postgres string `yaml:"postgres,omitempty"`
	// Query returns one tenant a row, in its first column; it is run read-only, every few minutes.
	Query string `yaml:"query,omitempty"`

	// Database is the target that Postgres names; whoever decodes the service sets it.
	Database *postgres.Config `yaml:"-" json:"-"`
}

// configured says whether there is a source of tenants.
func (t Tenants) configured() bool { return len(t.List) > 0 || t.File != "" || t.Query != "" }

// TargetName is the service and the feature.
func (c *Config) TargetName() string { return TargetName(c.Service, c.Name) }

// TargetName is the value of the label target of a feature's series.
func TargetName(service, feature string) string { return service + "/" + feature }

// Address is where the first step goes, without its query.
func (c *Config) Address() string {
	steps := c.Requests()
	if len(steps) == 0 || steps[0].URL == "" {
		return ""
	}
	address, _, _ := strings.Cut(steps[0].URL, "?")
	return address
}

// RequiredTarget says whether the aggregate health fails with this target. It
// does not by default: a service that serves all tenants but one is up.
func (c *Config) RequiredTarget() bool { return c.Required != nil && *c.Required }

// Requests are the steps of a try, in order.
func (c *Config) Requests() []Request {
	if c.HTTP != nil {
		return append([]Request{*c.HTTP}, c.Steps...)
	}
	return c.Steps
}

// Validate names what contradicts itself.
func (c *Config) Validate() []probe.Fault {
	var faults faults
	if c.Name == "" {
		faults.add("$.name", "no name", "name the feature, as in login")
	}
	switch {
	case c.HTTP == nil && len(c.Steps) == 0:
		faults.add("$.http", "neither http nor steps", "say how the feature is tried, as in http: {url: http://127.0.0.1:3001/features/login}")
	case c.HTTP != nil && len(c.Steps) > 0:
		faults.add("$.steps", "http and steps at once", "make the request of http the first of the steps")
	}
	if c.HTTP != nil {
		c.HTTP.validate("$.http", nil, &faults)
	}
	saved := map[string]bool{}
	for i := range c.Steps {
		c.Steps[i].validate(fmt.Sprintf("$.steps[%d]", i), saved, &faults)
	}
	c.Tenants.validate(&faults)
	if c.Interval < 0 {
		faults.add("$.interval", "a negative time", "write a duration, as in 30s")
	}
	if c.Timeout < 0 {
		faults.add("$.timeout", "a negative time", "write a duration, as in 3s")
	}
	if c.MaxPerSecond < 0 {
		faults.add("$.max_per_second", "a negative rate", "use a number above 0, as in 10")
	}
	return faults
}

// faults gathers what is wrong with an entry.
type faults []probe.Fault

func (f *faults) add(path, problem, cure string) {
	*f = append(*f, probe.Fault{Path: path, Problem: problem, Cure: cure})
}

// validate takes what earlier steps save, and adds what this one does.
func (r *Request) validate(path string, saved map[string]bool, faults *faults) {
	if r.URL == "" {
		faults.add(path+".url", "no url", "name the address, as in http://127.0.0.1:3001/features/login?tenant={{.tenant}}")
	} else if err := checkURL(r.URL); err != nil {
		faults.add(path+".url", err.Error(), "write it as in http://127.0.0.1:3001/features/login?tenant={{.tenant}}")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Save)) {
		if name == tenantKey || !isName(name) {
			faults.add(path+".save."+name, "cannot be a name in a template, or is taken", "use letters, digits and _, as in token")
		}
	}
	if _, err := compile(*r, saved); err != nil {
		faults.add(path, err.Error(), "a template may hold {{.tenant}} and what earlier steps save, as in {{.token}}")
	}
	for name := range r.Save {
		if saved != nil {
			saved[name] = true
		}
	}
}

// checkURL looks at an address whose parts may be templates.
func checkURL(text string) error {
	plain := placeholders.ReplaceAllString(text, "x")
	u, err := url.Parse(plain)
	switch {
	case err != nil:
		return errors.New("not an address")
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("not an http or https address")
	case u.User != nil:
		return errors.New("credentials in an address, which is shown")
	}
	return nil
}

func (t Tenants) validate(faults *faults) {
	sources := 0
	for _, given := range []bool{len(t.List) > 0, t.File != "", t.Query != "" || t.Postgres != ""} {
		if given {
			sources++
		}
	}
	if sources > 1 {
		faults.add("$.tenants", "more than one source of tenants", "keep one of list, file, and postgres with query")
	}
	if (t.Query == "") != (t.Postgres == "") {
		faults.add("$.tenants", "postgres and query belong together", `give both, as in {postgres: main, query: "select slug from companies"}`)
	}
	if slices.Contains(t.List, "") {
		faults.add("$.tenants.list", "a tenant without a name", "leave it out")
	}
}

// Open makes the probe.
func (c *Config) Open(probe.Links) (probe.Probe, error) {
	p, err := newProbe(c)
	if err != nil {
		return nil, fmt.Errorf("feature %s: %w", c.TargetName(), err)
	}
	return p, nil
}

func (c *Config) interval() time.Duration { return time.Duration(cmp.Or(c.Interval, DefaultInterval)) }
func (c *Config) timeout() time.Duration  { return time.Duration(cmp.Or(c.Timeout, DefaultTimeout)) }
func (c *Config) maxPerSecond() float64   { return cmp.Or(c.MaxPerSecond, DefaultMaxPerSecond) }
