// Package http reads the health of a service over HTTP: NestJS Terminus,
// health+json, Spring Boot's actuator, or a plain status code.
package http

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Config is a service's `health:` section: the address that says how the
// service is.
type Config struct {
	// Name is the service's; whoever decodes the service sets it.
	Name string `yaml:"-" json:"-"`
	// URL of the health endpoint, http or https. Without it the service's health is not read.
	URL string `yaml:"url,omitempty" jsonschema:"example=http://127.0.0.1:3001/health"`
	// Replicas are the addresses of the single instances behind url, each asked as url is; dns+http://name:3001/health asks every address of a name.
	Replicas []string `yaml:"replicas,omitempty" jsonschema:"example=http://10.0.0.7:3001/health"`
	// Method of the request.
	Method string `yaml:"method,omitempty" jsonschema:"enum=GET,enum=HEAD,default=GET"`
	// Timeout of one request, when it must be shorter than the deadline of a reading.
	Timeout model.Duration `yaml:"timeout,omitempty"`
	// Required says whether the aggregate health fails while the service is down.
	Required *bool `yaml:"required,omitempty" jsonschema:"default=true"`
	// Expect says what a healthy answer looks like, beyond a 2xx status and a body that does not say otherwise.
	Expect Expect `yaml:"expect,omitempty"`
}

// Expect says what an answer must look like.
type Expect struct {
	// Status code that must be answered; without it any 2xx will do.
	Status int `yaml:"status,omitempty" jsonschema:"minimum=100,maximum=599"`
	// JSON holds fields that the body must hold with these values; it may hold more.
	JSON map[string]any `yaml:"json,omitempty"`
}

// TargetName is the service's name.
func (c *Config) TargetName() string { return c.Name }

// Address is the URL without its query, which may hold a token.
func (c *Config) Address() string {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "(not a URL)"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// RequiredTarget says whether the aggregate health fails with this target.
func (c *Config) RequiredTarget() bool { return c.Required == nil || *c.Required }

// Validate names what contradicts itself.
func (c *Config) Validate() []probe.Fault {
	var faults []probe.Fault
	fault := func(path, problem, cure string) {
		faults = append(faults, probe.Fault{Path: path, Problem: problem, Cure: cure})
	}
	if c.URL == "" {
		fault("$.url", "no url", "name the address of the health endpoint, as in http://127.0.0.1:3001/health")
	} else {
		checkURL("$.url", c.URL, fault)
	}
	for i, replica := range c.Replicas {
		checkURL(fmt.Sprintf("$.replicas[%d]", i), strings.TrimPrefix(replica, dnsScheme), fault)
	}
	if !slices.Contains([]string{"", http.MethodGet, http.MethodHead}, c.Method) {
		fault("$.method", fmt.Sprintf("method %q may change what it asks", c.Method), "use GET or HEAD")
	}
	if c.Method == http.MethodHead && len(c.Expect.JSON) > 0 {
		fault("$.expect.json", "a HEAD answer has no body", "use method GET, or leave json out")
	}
	if s := c.Expect.Status; s != 0 && (s < 100 || s > 599) {
		fault("$.expect.status", fmt.Sprintf("%d is not an HTTP status code", s), "use a code from 100 to 599")
	}
	if c.Timeout < 0 {
		fault("$.timeout", "a negative time", "write a duration, as in 2s")
	}
	return faults
}

func checkURL(path, address string, fault func(path, problem, cure string)) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || !slices.Contains([]string{"http", "https"}, u.Scheme):
		fault(path, "not an http or https address", "write it as in http://127.0.0.1:3001/health")
	case u.User != nil:
		fault(path, "credentials in a health address, which is shown", "give the endpoint an address that needs none")
	}
}

// Open makes the probe.
func (c *Config) Open(probe.Links) (probe.Probe, error) {
	return newProbe(*c), nil
}

func (c *Config) method() string { return cmp.Or(c.Method, http.MethodGet) }

// Unmet says what of an answer is not as expected; empty when everything is.
// Without a status any 2xx will do.
func (e Expect) Unmet(resp *http.Response, body []byte) string {
	if wrong := (&Config{Expect: e}).wrongStatus(resp); wrong != "" {
		return wrong
	}
	return e.mismatch(body)
}
