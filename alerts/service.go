package alerts

import (
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/feature"
	"github.com/rollwatch/rollwatch/probes/http"
)

// A Service is one entry of the `services:` section: what is judged, and which
// of its signals are there. A signal that is configured is required.
type Service struct {
	Name         string            `yaml:"name" jsonschema:"required"`
	VersionLabel string            `yaml:"version_label,omitempty"` // the label that tells versions apart in the service's own metrics
	Detect       *Detect           `yaml:"detect,omitempty"`        // registers versions that show themselves without having been told of
	TenantLabel  string            `yaml:"tenant_label,omitempty"`
	TenantLabels []string          `yaml:"tenant_labels,omitempty"` // the hierarchy, largest unit first
	RouteLabel   string            `yaml:"route_label,omitempty"`   // the label that tells routes apart; left out: what the preset knows
	Health       http.Config       `yaml:"health,omitempty"`
	Metrics      Metrics           `yaml:"metrics,omitempty"`
	Tracks       map[string]Labels `yaml:"tracks,omitempty"` // canary, stable: the labels that select each
	Queues       []string          `yaml:"queues,omitempty"`
	Completions  string            `yaml:"completions,omitempty"` // the counter of jobs its workers completed, as a PromQL selector
	Failures     string            `yaml:"failures,omitempty"`    // the counter of jobs that failed
	Concurrency  string            `yaml:"concurrency,omitempty"` // the gauge of jobs that a worker takes at once; without it each instance counts as one
	Pool         PoolSeries        `yaml:"pool,omitempty"`        // the series of its connection pools, where Pools has them not
	Databases    []string          `yaml:"databases,omitempty"`
	Features     []*feature.Config `yaml:"features,omitempty"`

	// WorkerTracks says that some of its queues tell the workers of a canary by
	// their names. Whoever knows the queues' own configuration sets it.
	WorkerTracks bool `yaml:"-" json:"-"`
}

// PoolSeries are the gauges of connection pools, as PromQL selectors: Waiting, and
// either Idle or Busy and Max.
type PoolSeries struct {
	Waiting string `yaml:"waiting,omitempty"` // those who wait for a connection
	Idle    string `yaml:"idle,omitempty"`    // connections that are free
	Busy    string `yaml:"busy,omitempty"`    // connections that are in use
	Max     string `yaml:"max,omitempty"`     // connections that there may be
}

// Labels select series by equality.
type Labels map[string]string

// Metrics says where a service's own metrics are and what they are called.
type Metrics struct {
	Scrape   []collector.ScrapeTarget `yaml:"scrape,omitempty"`
	Preset   string                   `yaml:"preset,omitempty"`   // a name of Presets, or NoPreset
	Requests string                   `yaml:"requests,omitempty"` // or the three series, as PromQL selectors
	Errors   string                   `yaml:"errors,omitempty"`
	Latency  string                   `yaml:"latency,omitempty"`
}
