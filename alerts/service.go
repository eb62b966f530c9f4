package alerts

import (
	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/http"
)

// A Service is one entry of the `services:` section: what is judged, and which
// of its signals are there. A signal that is configured is required.
type Service struct {
	Name         string            `yaml:"name" jsonschema:"required"`
	VersionLabel string            `yaml:"version_label,omitempty"` // the label that tells versions apart in the service's own metrics
	TenantLabel  string            `yaml:"tenant_label,omitempty"`
	TenantLabels []string          `yaml:"tenant_labels,omitempty"` // the hierarchy, largest unit first
	Health       http.Config       `yaml:"health,omitempty"`
	Metrics      Metrics           `yaml:"metrics,omitempty"`
	Tracks       map[string]Labels `yaml:"tracks,omitempty"` // canary, stable: the labels that select each
	Queues       []string          `yaml:"queues,omitempty"`
	Databases    []string          `yaml:"databases,omitempty"`
	Features     []Feature         `yaml:"features,omitempty"`
}

// Labels select series by equality.
type Labels map[string]string

// Metrics says where a service's own metrics are and what they are called.
type Metrics struct {
	Scrape   []collector.ScrapeTarget `yaml:"scrape,omitempty"`
	Preset   string                   `yaml:"preset,omitempty"`   // a name of Presets
	Requests string                   `yaml:"requests,omitempty"` // or the three series, as PromQL selectors
	Errors   string                   `yaml:"errors,omitempty"`
	Latency  string                   `yaml:"latency,omitempty"`
}

// A Feature is a critical feature of a service, tried for its tenants.
type Feature struct {
	Name     string         `yaml:"name" jsonschema:"required"`
	HTTP     FeatureRequest `yaml:"http"`
	Tenants  FeatureTenants `yaml:"tenants,omitempty"`
	Interval model.Duration `yaml:"interval,omitempty"`
}

// A FeatureRequest is the HTTP request that tries a feature; its URL is a
// text/template over {{.tenant}}.
type FeatureRequest struct {
	Method string      `yaml:"method,omitempty"`
	URL    string      `yaml:"url" jsonschema:"required"`
	Expect http.Expect `yaml:"expect,omitempty"`
}

// FeatureTenants says for whom a feature is tried: a list, or a query on a
// PostgreSQL target that returns one tenant a row.
type FeatureTenants struct {
	List     []string `yaml:"list,omitempty"`
	Postgres string   `yaml:"postgres,omitempty"`
	Query    string   `yaml:"query,omitempty"`
}
