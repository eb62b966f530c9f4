// Package probe holds what every probe speaks in: the Probe itself, the
// Metrics it describes, the Samples it reads and the Config it is opened from.
//
// It is the root of the import graph: probes/<system> implement it,
// probes.Kinds lists them, and the collector runs them. It knows no schedule,
// no metrics library and no rule.
package probe

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Probe reads one target. It is used by one goroutine at a time, except
// that Discover may run beside Read.
type Probe interface {
	// Read reads the target once and answers by ctx's deadline. An error means
	// that the target is down; a part that could not be read while the target
	// answers is a View in the Reading, not an error. The slice of the Reading's
	// Samples is the caller's until the next Read, which may write to it again.
	Read(ctx context.Context) (Reading, error)

	// Close gives back the probe's connections. The probe is not used afterwards.
	Close() error
}

// A Discoverer is a Probe that must look for what it reads (the queues of a
// Redis), by work too slow for the hot path. The collector runs Discover at
// once and then every DiscoverInterval, beside Read; Read uses what is known.
type Discoverer interface {
	Discover(ctx context.Context) error
	DiscoverInterval() time.Duration
}

// Type is the type of a Metric.
type Type string

// The types of metrics, as Prometheus names them.
const (
	Gauge     Type = "gauge"
	Counter   Type = "counter"
	Histogram Type = "histogram" // samples by Metric.Distribution
	Summary   Type = "summary"   // samples by Metric.Distribution
)

// A Metric describes one family of series. The description is the one place
// from which exposition, documentation and tests are made.
type Metric struct {
	Name   string   // as exposed, with unit and _total suffix
	Type   Type     //
	Unit   string   // "seconds", "bytes", "ratio", an exporter's own ("milliseconds"), or "" for a count
	Labels []string // besides `target`, which every series carries
	Help   string   // one sentence
	Source string   // the view, command or key it is read from
	Note   string   // why name or meaning differ from an established exporter's, if they do
}

// Sample returns one value of the metric. The label values stand in the order
// of m.Labels; a wrong number of them is a programming error and panics.
func (m *Metric) Sample(value float64, labels ...string) Sample {
	if len(labels) != len(m.Labels) {
		panic("probe: " + m.Name + ": wrong number of label values")
	}
	return Sample{Metric: m, Labels: labels, Value: value}
}

// Distributed returns one value of a Histogram or a Summary, as Sample does of
// the other types. The distribution is shared, not copied.
func (m *Metric) Distributed(d Distribution, labels ...string) Sample {
	s := m.Sample(d.Sum, labels...)
	s.Distribution = &d
	return s
}

// A Sample is one value of one series at the time of the reading, or one
// distribution, which is several series.
type Sample struct {
	Metric       *Metric
	Labels       []string // values, in the order of Metric.Labels
	Value        float64
	Distribution *Distribution // of a Histogram or a Summary, in place of Value
}

// Series is how many series the sample is when it is written out: a Histogram has
// one a bucket, and both have a sum and a count.
func (s Sample) Series() int {
	switch {
	case s.Distribution == nil:
		return 1
	case s.Metric.Type == Histogram:
		return len(s.Distribution.Points) + 3
	default:
		return len(s.Distribution.Points) + 2
	}
}

// A Reading is what one Read found.
type Reading struct {
	Samples []Sample
	Views   []View // the parts read, each with how it went; the same parts at every Read of one connection

	// Ill says why the target counts as down in the health document although it
	// answered (a queue set with too many retained failures); empty when well.
	Ill string

	// Warning says what should be changed although the target is well, as of a Redis
	// that may drop what is in its queues; empty when nothing should. It is shown in
	// the health document and by `rollwatch check`, and takes nothing down.
	Warning string

	// Dropped is how many series the probe itself left out, of a target that has
	// more of something than it may have: queues, tables, tenants.
	Dropped int

	// Schema is what the tables of the target look like, if it has tables; that was
	// found at Schema.ReadAt, which may be minutes ago. Shared, not to be written to.
	Schema *Schema

	// Details are shown for the target in the health document: version, role,
	// the components a health endpoint names. JSON values only, no secrets.
	Details map[string]any
}

// A View is one part of a reading (a system view, a command) that can be
// missing while the others are there.
type View struct {
	Name  string
	State ViewState
	Err   error // why, when State is Denied or Failed; perhaps also when it is Absent
}

// ViewState says what became of a View. Denied, absent and zero are three
// different things: only a View that is Read has values, and they may be 0.
type ViewState string

// The states of a View.
const (
	ViewRead   ViewState = "read"   // it has values
	ViewAbsent ViewState = "absent" // this server has no such thing (version, extension, role)
	ViewDenied ViewState = "denied" // the server refuses it to our user
	ViewFailed ViewState = "failed" // it could not be read this time
)

// A Config is one entry of a section of the configuration file: what to read
// and how to reach it. Its fields carry yaml tags and jsonschema tags.
type Config interface {
	// TargetName is the entry's name: the value of the label `target`.
	TargetName() string

	// Address is where the target is, with secrets masked; an entry whose
	// Address is empty is left out.
	Address() string

	// RequiredTarget says whether the aggregate health fails with this target.
	RequiredTarget() bool

	// Validate names what contradicts itself. Types, unknown keys and enums have
	// been checked before.
	Validate() []Fault

	// Open makes the probe. It does not dial: a target that is down at start is
	// a target that is down, not a refusal to start.
	Open(links Links) (Probe, error)
}

// Links are the connections that several targets share.
type Links interface {
	// Redis is the one client of the redis target with that name.
	Redis(name string) (redis.UniversalClient, error)
}

// A Granter is a Config that can say which privileges its probe needs.
type Granter interface {
	Grants() Grants
}

// Grants are the least privileges with which no reading of an entry is lost.
type Grants struct {
	On       string   // the target that grants them, as "postgres:main" or "redis:main"
	SQL      []string // statements for its administrator, the role written as rollwatch
	Commands []string // of Redis, as an ACL names them: "client|list"
	Keys     []string // of Redis, patterns of the keys that are read: "bull:*"
}

// A Fault is one thing wrong with a configuration, said so that it can be mended.
type Fault struct {
	Path    string // from the entry on, as in $.url or $.integrity[0].query; "$" for the entry itself
	Problem string
	Cure    string
}
