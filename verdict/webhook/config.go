// Package webhook hands the events that are owed to endpoints over to them,
// signed, again and again until they are acknowledged. What is owed is in the
// ledger, so a crash loses nothing: an event may come twice, under one id.
package webhook

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
)

// Config is one entry of the `webhooks:` section.
type Config struct {
	// Name of the endpoint, as deliveries and metrics show it.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// Kind of notifier: how an event is written and signed.
	Kind string `yaml:"kind,omitempty" jsonschema:"enum=standard,default=standard"`
	// URL to which events are posted. It may hold a token, so it is never shown. An entry whose URL is empty is left out.
	URL probe.Secret `yaml:"url,omitempty" jsonschema:"example=https://deployer.example.com/hooks/rollwatch"`
	// Secret that signs events: whsec_ and the base64 of 24 to 64 bytes. Several, separated by spaces, all sign, so that a secret can be replaced without a gap.
	Secret probe.Secret `yaml:"secret,omitempty"`
	// SecretFile holds the secrets in place of secret, one a line; it is read again at each attempt.
	SecretFile string `yaml:"secret_file,omitempty" jsonschema:"example=/run/secrets/webhook_secret"`
	// Events that are sent; all of them by default.
	Events []verdict.EventType `yaml:"events,omitempty" jsonschema:"enum=verdict.final,enum=verdict.changed"`
}

const (
	minSecret = 24 // bytes, as Standard Webhooks says
	maxSecret = 64
	makeOne   = "make one with: echo whsec_$(openssl rand -base64 32)"
)

// Validate names what contradicts itself.
func (c Config) Validate() []probe.Fault {
	var faults []probe.Fault
	fault := func(path, problem, cure string) {
		faults = append(faults, probe.Fault{Path: path, Problem: problem, Cure: cure})
	}
	if c.Name == "" {
		fault("$.name", "the name is missing", "name the endpoint; deliveries are listed under it")
	}
	if u, err := url.Parse(c.URL.Reveal()); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		fault("$.url", "the url is not an absolute http or https address", "write it as https://host/path")
	}
	if _, ok := Kinds[c.kind()]; !ok {
		fault("$.kind", fmt.Sprintf("there is no notifier %q", c.Kind), "use one of: "+strings.Join(kindNames(), ", "))
	}
	switch {
	case c.Secret.Empty() && c.SecretFile == "":
		fault("$.secret_file", "there is no secret, so nobody could tell who sent an event", "set secret_file or secret; "+makeOne)
	case !c.Secret.Empty() && c.SecretFile != "":
		fault("$.secret", "there are both secret and secret_file", "keep one of them")
	case !c.Secret.Empty():
		if _, err := parseSecrets(c.Secret); err != nil {
			fault("$.secret", err.Error(), makeOne)
		}
	}
	for i, event := range c.Events {
		if !slices.Contains(verdict.EventTypes, event) {
			fault(fmt.Sprintf("$.events[%d]", i), fmt.Sprintf("there is no event %q", string(event)), "use verdict.final or verdict.changed")
		}
	}
	return faults
}

func (c Config) kind() string { return cmp.Or(c.Kind, Standard) }

// secrets are what events are signed with now, the preferred first.
func (c Config) secrets() ([]string, error) {
	if c.SecretFile == "" {
		return parseSecrets(c.Secret)
	}
	text, err := probe.ReadSecretFile(c.SecretFile)
	if err != nil {
		return nil, err
	}
	secrets, err := parseSecrets(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.SecretFile, err)
	}
	return secrets, nil
}

// parseSecrets takes secrets apart and checks each. Errors never show one.
func parseSecrets(text probe.Secret) ([]string, error) {
	secrets := strings.Fields(text.Reveal())
	if len(secrets) == 0 {
		return nil, errors.New("there is no secret")
	}
	for i, secret := range secrets {
		encoded, ok := strings.CutPrefix(secret, "whsec_")
		if !ok {
			return nil, fmt.Errorf("secret %d does not begin with whsec_", i+1)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("secret %d is not base64 behind whsec_", i+1)
		}
		if len(key) < minSecret || len(key) > maxSecret {
			return nil, fmt.Errorf("secret %d has %d bytes; it must have %d to %d", i+1, len(key), minSecret, maxSecret)
		}
	}
	return secrets, nil
}

// Endpoints tells the engine who is owed which events.
func Endpoints(configs []Config) []verdict.Endpoint {
	var endpoints []verdict.Endpoint
	for _, c := range configs {
		endpoints = append(endpoints, verdict.Endpoint{Name: c.Name, Events: c.Events})
	}
	return endpoints
}
