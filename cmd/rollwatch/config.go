package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/api"
	"github.com/rollwatch/rollwatch/cmd/rollwatch/strictyaml"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
	"github.com/rollwatch/rollwatch/verdict/webhook"
)

// A Config is everything that the configuration says, composed of the sections
// that the packages own. It comes out of a configLoader only, which has
// validated it.
type Config struct {
	Sections
	Targets []TargetEntry // entries of the sections of probes.Kinds, in the order of the table
	Notices []string      // what was left out, what may be meant otherwise, and what is understood but not read yet
}

// Sections are the parts of the file that are one struct each.
type Sections struct {
	// Interval between two readings of each target, and between two judgements.
	Interval model.Duration `yaml:"interval"`
	// Timeout of one reading, for all kinds; without it each kind has its own: postgres 3s, redis 1s, queues 2s, http 5s.
	Timeout model.Duration `yaml:"timeout,omitempty"`
	// DataDir holds the window and the ledger.
	DataDir string `yaml:"data_dir"`

	Services []*alerts.Service `yaml:"services,omitempty"`
	Judge    verdict.Config    `yaml:"judge"`
	Gates    alerts.Config     `yaml:"gates"`
	Webhooks []webhook.Config  `yaml:"webhooks,omitempty"`
	API      api.Config        `yaml:"api"`
	Window   collector.Config  `yaml:"window"`

	Prometheus *PrometheusServer `yaml:"prometheus,omitempty"`
	Ledger     *SharedLedger     `yaml:"ledger,omitempty"`
}

// PrometheusServer is the `prometheus:` section: a server whose past is judged
// in place of the embedded window.
type PrometheusServer struct {
	URL string `yaml:"url" jsonschema:"required,example=http://prometheus:9090"`
}

// SharedLedger is the `ledger:` section: a PostgreSQL that keeps the record for
// several replicas, in place of a file in data_dir.
type SharedLedger struct {
	PostgresURL probe.Secret `yaml:"postgres_url" jsonschema:"required"`
}

// A TargetEntry is one entry of a section of probes.Kinds.
type TargetEntry struct {
	Kind   probes.Kind
	Config probe.Config
}

// defaultSections is what an empty file means.
func defaultSections() Sections {
	return Sections{
		Interval: model.Duration(15 * time.Second),
		DataDir:  "./data",
		Judge:    verdict.DefaultConfig(),
		API:      api.Config{Reads: api.ReadsOpen},
		Window:   collector.DefaultConfig(),
	}
}

// minInterval is the shortest interval: below it the readings themselves
// become a load.
const minInterval = time.Second

// validate names what contradicts itself in what belongs to no section.
func (s Sections) validate() []probe.Fault {
	var faults []probe.Fault
	if time.Duration(s.Interval) < minInterval {
		faults = append(faults, probe.Fault{Path: "$.interval", Problem: s.Interval.String() + " is too short", Cure: "write 1s or more"})
	}
	if s.Timeout > s.Interval {
		faults = append(faults, probe.Fault{
			Path:    "$.timeout",
			Problem: fmt.Sprintf("a reading may take longer (%s) than the time between two (%s)", s.Timeout, s.Interval),
			Cure:    "use a timeout below the interval",
		})
	}
	if strings.TrimSpace(s.DataDir) == "" {
		faults = append(faults, probe.Fault{Path: "$.data_dir", Problem: "is empty", Cure: "name a folder that may be written to, as in ./data"})
	}
	return faults
}

// targetsOf are the configurations of one type.
func targetsOf[T probe.Config](c *Config) []T {
	var out []T
	for _, t := range c.Targets {
		if of, ok := t.Config.(T); ok {
			out = append(out, of)
		}
	}
	return out
}

// timeout is the deadline of one reading of a kind.
func (c *Config) timeout(kind probes.Kind) time.Duration {
	if c.Timeout > 0 {
		return time.Duration(c.Timeout)
	}
	return kind.Timeout
}

// A configLoader reads the configuration: a file, or without one the
// environment alone.
type configLoader struct {
	file   string // empty: the environment alone
	lookup func(string) (string, bool)
}

// A faultyError is everything that is wrong with a configuration, one fault on a line.
type faultyError struct{ faults strictyaml.Faults }

func (e *faultyError) Error() string { return e.faults.String() }

// load reads, checks and composes the configuration. What is wrong with it is
// answered all at once, as a *faultyError.
func (l configLoader) load() (*Config, error) {
	root, err := l.read()
	if err != nil {
		return nil, err
	}
	r := newResolver(root)
	r.resolve()
	refused := fileSchema().Check(root)
	prune(root, refusalsOf(refused))
	c := &Config{Sections: defaultSections(), Notices: r.notices}
	d := decoder{root: root, config: c}
	d.decode()
	if faults := slices.Concat(r.faults, refused, d.faults); len(faults) > 0 {
		return nil, l.shown(faults)
	}
	if len(c.Targets) == 0 && len(c.Services) == 0 {
		return nil, l.shown(append(strictyaml.Faults{l.nothing()}, leftOut(c.Notices)...))
	}
	if l.file == "" {
		c.Notices = nil // nobody wrote the entries that the environment does not fill
	}
	c.Notices = slices.Concat(c.Notices, d.doubts(), notReadYet(c))
	return c, nil
}

// read parses the file and expands its variables.
func (l configLoader) read() (*strictyaml.Node, error) {
	if l.file == "" {
		return environmentTree(l.lookup)
	}
	text, err := readAtMost(l.file, strictyaml.MaxSize+1)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	root, faults := strictyaml.Parse(l.file, text)
	if root == nil {
		return nil, &faultyError{faults}
	}
	if faults = append(faults, root.Expand(l.lookup)...); len(faults) > 0 {
		return nil, l.shown(faults)
	}
	return root, nil
}

// readAtMost reads a file no further than limit, so that a wrong path does not
// fill the memory.
func readAtMost(path string, limit int) ([]byte, error) {
	f, err := probe.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(limit)))
}

// nothing is the fault of a configuration that names nothing to watch.
func (l configLoader) nothing() strictyaml.Fault {
	f := strictyaml.Fault{File: l.file, Problem: "nothing to watch", Cure: "give a target an address"}
	if l.file == "" {
		f.File = environmentName
		f.Cure = "set DATABASE_URL or REDIS_URL, or name a file with --config.file"
	}
	return f
}

// leftOut turns notices into faults, for when what was left out was everything.
func leftOut(notices []string) strictyaml.Faults {
	faults := make(strictyaml.Faults, 0, len(notices))
	for _, notice := range notices {
		faults = append(faults, strictyaml.Fault{File: "left out", Problem: notice})
	}
	return faults
}

// shown prepares faults for the reader: in order, and without places in a file
// that only the program knows.
func (l configLoader) shown(faults strictyaml.Faults) error {
	faults = faults.Sorted()
	if l.file == "" {
		for i := range faults {
			faults[i].Line, faults[i].Column = 0, 0
		}
	}
	return &faultyError{faults}
}

// notReadYet names what is configured and valid, but not read by this version.
func notReadYet(c *Config) []string {
	var out []string
	say := func(what string) { out = append(out, what+": not read yet by this version") }
	if c.Prometheus != nil {
		say("prometheus (the embedded window is used)")
	}
	if c.Ledger != nil {
		say("ledger.postgres_url (the file in data_dir is used)")
	}
	return out
}

// serviceTargets are the services' health endpoints and features, which are
// targets too.
func (c *Config) serviceTargets() []TargetEntry {
	var out []TargetEntry
	for _, s := range c.Services {
		if s.Health.URL != "" {
			out = append(out, TargetEntry{kindNamed("http"), &s.Health})
		}
		for _, feature := range s.Features {
			out = append(out, TargetEntry{kindNamed("feature"), feature})
		}
	}
	return out
}

// kindNamed is an entry of probes.Kinds that has no section of its own.
func kindNamed(name string) probes.Kind {
	return probes.Kinds[slices.IndexFunc(probes.Kinds, func(k probes.Kind) bool { return k.Name == name })]
}

// service finds a service by name.
func (c *Config) service(name string) *alerts.Service {
	i := slices.IndexFunc(c.Services, func(s *alerts.Service) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return c.Services[i]
}
