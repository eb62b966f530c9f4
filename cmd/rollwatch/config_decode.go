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
	"github.com/rollwatch/rollwatch/probes/probe"
)

// A decoder fills a Config from the checked tree. It passes over what the
// schema refused, so that one fault does not hide the next.
type decoder struct {
	root   *strictyaml.Node
	config *Config
	faults strictyaml.Faults
}

func (d *decoder) decode() {
	for _, entry := range d.root.Entries {
		switch {
		case d.isKindSection(entry.Key):
		case entry.Key == "gates":
			d.gates(entry.Value)
		case d.clean(entry.Value):
			section := &strictyaml.Node{
				File: d.root.File, Line: entry.Line, Column: entry.Column, Path: entry.Key,
				Kind: strictyaml.Map, Entries: []strictyaml.Entry{entry},
			}
			d.add(section.Decode(&d.config.Sections))
		}
	}
	for _, kind := range probes.Kinds {
		d.targets(kind)
	}
	d.services()
	d.validate()
}

func (d *decoder) isKindSection(key string) bool {
	return slices.ContainsFunc(probes.Kinds, func(k probes.Kind) bool { return k.Section == key })
}

func (d *decoder) add(faults strictyaml.Faults) { d.faults = append(d.faults, faults...) }

// clean says whether no fault was found in the node or below it.
func (d *decoder) clean(n *strictyaml.Node) bool {
	return !slices.ContainsFunc(d.faults, func(f strictyaml.Fault) bool {
		rest, below := strings.CutPrefix(f.Path, n.Path)
		return below && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// targets decodes the entries of one kind.
func (d *decoder) targets(kind probes.Kind) {
	section := d.root.Get(kind.Section)
	if section == nil || kind.Section == "" {
		return
	}
	lines := map[string]int{}
	for _, item := range section.Items {
		if kind.Selector != "" && text(item.Get("kind")) != kind.Selector || !d.clean(item) {
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
		if !d.clean(entry.Value) {
			continue
		}
		if entry.Key == "custom" {
			d.add(entry.Value.Decode(&d.config.Gates.Custom))
			continue
		}
		var tuning alerts.Tuning
		d.add(entry.Value.Decode(&tuning))
		d.config.Gates.Tuned[entry.Key] = tuning
	}
}

// services gives each service's health section what it lacks.
func (d *decoder) services() {
	for _, s := range d.config.Services {
		s.Health.Name = s.Name
		if s.Health.URL != "" {
			s.Health.Method = cmp.Or(s.Health.Method, "GET")
			s.Health.Required = cmp.Or(s.Health.Required, new(true))
		}
	}
}

// validate asks each section what contradicts itself.
func (d *decoder) validate() {
	d.place(d.root, d.config.Sections.validate())
	for key, section := range map[string]interface{ Validate() []probe.Fault }{
		"judge": d.config.Judge, "api": d.config.API, "window": d.config.Window, "gates": d.config.Gates,
	} {
		if n := cmp.Or(d.root.Get(key), d.root); d.clean(n) {
			d.place(n, section.Validate())
		}
	}
	d.place(cmp.Or(d.root.Get("gates"), d.root), d.config.Gates.ValidateInterval(time.Duration(d.config.Interval)))
	d.each("services", len(d.config.Services), func(i int) []probe.Fault {
		s := d.config.Services[i]
		faults := s.Validate()
		if s.Health.URL != "" {
			for _, f := range (&s.Health).Validate() {
				f.Path = "$.health" + strings.TrimPrefix(f.Path, "$")
				faults = append(faults, f)
			}
		}
		return faults
	})
	d.each("webhooks", len(d.config.Webhooks), func(i int) []probe.Fault { return d.config.Webhooks[i].Validate() })
}

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
