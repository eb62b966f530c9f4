// Package http reads the health of a service over HTTP: Terminus, health+json
// or a plain status.
package http

// Config is a service's `health:` section.
type Config struct {
	Name   string `yaml:"-"` // the service's name
	URL    string `yaml:"url,omitempty"`
	Expect Expect `yaml:"expect,omitempty"`
}

// Expect says what an answer must look like.
type Expect struct {
	Status int            `yaml:"status,omitempty"` // 200 by default
	JSON   map[string]any `yaml:"json,omitempty"`   // fields at the top of the body and their values
}
