package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/cmd/rollwatch/strictyaml"
	"github.com/rollwatch/rollwatch/probes"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/feature"
	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// A decoder fills a Config from the tree and asks each section what
// contradicts itself.
type decoder struct {
	root   *strictyaml.Node
	config *Config
	faults strictyaml.Faults
}

func (d *decoder) decode() {
	for _, entry := range d.root.Entries {
		switch {
		case slices.ContainsFunc(probes.Kinds, func(k probes.Kind) bool { return k.Section == entry.Key }):
		case entry.Key == gatesSection:
			d.gates(entry.Value)
		default:
			alone := &strictyaml.Node{
				File: d.root.File, Line: entry.Line, Column: entry.Column, Path: entry.Key,
				Kind: strictyaml.Map, Entries: []strictyaml.Entry{entry},
			}
			d.add(alone.Decode(&d.config.Sections))
		}
	}
	for _, kind := range probes.Kinds {
		d.targets(kind)
	}
	d.services()
	d.validate()
}

// prune takes out of a section, or of the whole file, what the schema refused:
// the entry of a list, or the key. The rest can be decoded and validated, so
// that one fault does not hide the others.
func prune(n *strictyaml.Node, refused refusals) {
	n.Entries = slices.DeleteFunc(n.Entries, func(e strictyaml.Entry) bool {
		itself, below := refused.at(e.Value)
		switch {
		case itself || !below:
			return itself
		case e.Value.Kind == strictyaml.List:
			e.Value.Items = slices.DeleteFunc(e.Value.Items, func(item *strictyaml.Node) bool {
				itself, below := refused.at(item)
				return itself || below
			})
			return false
		case e.Key == gatesSection && e.Value.Kind == strictyaml.Map:
			prune(e.Value, refused)
			return false
		}
		return true
	})
}

// refusals say where faults were found: at a path itself, and below it.
type refusals struct{ itself, below map[string]bool }

func refusalsOf(faults strictyaml.Faults) refusals {
	r := refusals{map[string]bool{}, map[string]bool{}}
	for _, f := range faults {
		r.itself[f.Path] = true
		for i, c := range f.Path {
			if c == '.' || c == '[' {
				r.below[f.Path[:i]] = true
			}
		}
	}
	return r
}

// at says whether faults were found in a node itself, and below it.
func (r refusals) at(n *strictyaml.Node) (itself, below bool) {
	return r.itself[n.Path], r.below[n.Path]
}

func (d *decoder) add(faults strictyaml.Faults) { d.faults = append(d.faults, faults...) }

// targets decodes the entries of one kind.
func (d *decoder) targets(kind probes.Kind) {
	section := d.root.Get(kind.Section)
	if section == nil || kind.Section == "" {
		return
	}
	lines := map[string]int{}
	for _, item := range section.Items {
		if kind.Selector != "" && text(item.Get("kind")) != kind.Selector {
			continue
		}
		target := kind.New()
		if faults := item.Decode(target); len(faults) > 0 {
			d.add(faults)
			continue
		}
		faults := target.Validate()
		d.place(item, faults)
		if first, twice := lines[target.Address()]; twice && len(faults) == 0 {
			d.add(strictyaml.Faults{item.Fault(
				fmt.Sprintf("%s is read already by the entry on line %d", target.Address(), first), "keep one of them")})
		}
		lines[target.Address()] = item.Line
		d.config.Targets = append(d.config.Targets, TargetEntry{kind, target})
	}
}

// gates decodes the tuned built-in gates and the user's own.
func (d *decoder) gates(n *strictyaml.Node) {
	d.config.Gates.Tuned = map[string]alerts.Tuning{}
	for _, entry := range n.Entries {
		if entry.Key == "custom" {
			d.add(entry.Value.Decode(&d.config.Gates.Custom))
			continue
		}
		var tuning alerts.Tuning
		d.add(entry.Value.Decode(&tuning))
		d.config.Gates.Tuned[entry.Key] = tuning
	}
}

// services gives each service's health and features what they lack, and says
// whether its queues tell the workers of a canary.
func (d *decoder) services() {
	for _, s := range d.config.Services {
		s.Health.Name = s.Name
		if s.Health.URL != "" {
			s.Health.Method = cmp.Or(s.Health.Method, "GET")
			s.Health.Required = cmp.Or(s.Health.Required, new(true))
		}
		s.FillIn()
		for _, f := range s.Features {
			d.feature(s, f)
		}
		for _, queues := range targetsOf[*bullmq.Config](d.config) {
			_, tells := queues.WorkerTracks["canary"]
			s.WorkerTracks = s.WorkerTracks || tells && slices.Contains(s.Queues, queues.Name)
		}
	}
}

// feature gives a feature of a service what it lacks.
func (d *decoder) feature(s *alerts.Service, f *feature.Config) {
	f.Service = s.Name
	f.Interval = cmp.Or(f.Interval, feature.DefaultInterval)
	f.Timeout = cmp.Or(f.Timeout, feature.DefaultTimeout)
	f.MaxPerSecond = cmp.Or(f.MaxPerSecond, feature.DefaultMaxPerSecond)
	f.Required = cmp.Or(f.Required, new(false))
	for _, database := range targetsOf[*postgres.Config](d.config) {
		if database.Name == f.Tenants.Postgres {
			f.Tenants.Database = database
		}
	}
}

// validate asks each section what contradicts itself.
func (d *decoder) validate() {
	d.place(d.root, d.config.Sections.validate())
	gates := d.config.Gates
	d.place(d.at("judge"), d.config.Judge.Validate())
	d.place(d.at("api"), d.config.API.Validate())
	d.place(d.at("window"), d.config.Window.Validate())
	d.place(d.at(gatesSection), append(gates.Validate(), gates.ValidateInterval(time.Duration(d.config.Interval))...))
	d.each(servicesSection, len(d.config.Services), func(i int) []probe.Fault { return serviceFaults(d.config.Services[i]) })
	d.each("webhooks", len(d.config.Webhooks), func(i int) []probe.Fault { return d.config.Webhooks[i].Validate() })
}

// serviceFaults are the faults of a service and of what it is composed of.
func serviceFaults(s *alerts.Service) []probe.Fault {
	faults := s.Validate()
	add := func(path string, of []probe.Fault) {
		for _, f := range of {
			f.Path = path + strings.TrimPrefix(f.Path, "$")
			faults = append(faults, f)
		}
	}
	if s.Health.URL != "" {
		add("$.health", s.Health.Validate())
	}
	for i, f := range s.Features {
		add(fmt.Sprintf("$.features[%d]", i), f.Validate())
	}
	for i, target := range s.Metrics.Scrape {
		add(fmt.Sprintf("$.metrics.scrape[%d]", i), target.Validate())
	}
	return faults
}

// at is the node of a section, the whole file where it has none.
func (d *decoder) at(section string) *strictyaml.Node { return cmp.Or(d.root.Get(section), d.root) }

// each validates the entries of a section that was decoded whole.
func (d *decoder) each(section string, n int, validate func(i int) []probe.Fault) {
	list := d.root.Get(section)
	if list == nil || len(list.Items) != n {
		return
	}
	for i, item := range list.Items {
		d.place(item, validate(i))
	}
}

// doubts are what may be meant otherwise than it is taken, with its place in the file.
func (d *decoder) doubts() []string {
	list := d.root.Get(servicesSection)
	if list == nil || len(list.Items) != len(d.config.Services) {
		return nil
	}
	var out []string
	for i, s := range d.config.Services {
		for _, f := range s.Doubts() {
			out = append(out, list.Items[i].FaultAt(f.Path, f.Problem, f.Cure).String())
		}
	}
	return out
}

// place gives faults their place in the file. What came out of a variable
// without a value is told so.
func (d *decoder) place(n *strictyaml.Node, faults []probe.Fault) {
	for _, f := range faults {
		placed := n.FaultAt(f.Path, f.Problem, f.Cure)
		if at, _, whole := n.At(strictyaml.Segments(f.Path)); whole && len(at.Unset) > 0 {
			placed.Problem += " (" + strings.Join(at.Unset, ", ") + " is not set)"
		}
		d.add(strictyaml.Faults{placed})
	}
}
