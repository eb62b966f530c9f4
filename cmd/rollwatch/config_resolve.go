package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rollwatch/rollwatch/cmd/rollwatch/strictyaml"
	"github.com/rollwatch/rollwatch/probes"
)

// A resolver takes entries without an address out of the file's tree, together
// with what refers to them, and checks that what is referred to is there.
type resolver struct {
	root    *strictyaml.Node
	named   map[string][]string // by section: the names of the entries that stay
	missing map[string][]string // by section: the names of those left out
	notices []string
	faults  strictyaml.Faults
}

func newResolver(root *strictyaml.Node) *resolver {
	return &resolver{root: root, named: map[string][]string{}, missing: map[string][]string{}}
}

// addressKeys are the keys whose values say where a thing is.
var addressKeys = []string{"url", "url_file", "redis"}

// The sections that others refer to.
const (
	redisSection    = "redis"
	postgresSection = "postgres"
	queuesSection   = "queues"
	servicesSection = "services"
	gatesSection    = "gates"
)

// resolve goes through the sections in the order of dependence.
func (r *resolver) resolve() {
	for _, section := range r.kindSections() {
		r.entries(section, func(entry *strictyaml.Node) string {
			if reason := emptyAddress(entry); reason != "" || section == redisSection {
				return reason
			}
			return r.refer(entry.Get("redis"), redisSection)
		})
	}
	r.entries(servicesSection, r.service)
	r.list(r.root.Get(gatesSection).Get("custom"), "gates.custom", func(gate *strictyaml.Node) string {
		return r.refer(gate.Get("service"), servicesSection)
	})
	r.entries("webhooks", emptyAddress)
	for section, key := range map[string]string{"prometheus": "url", "ledger": "postgres_url"} {
		if n := r.root.Get(section); n != nil && n.Kind == strictyaml.Map && n.Get(key).Empty() {
			r.root.Delete(section)
		}
	}
}

// kindSections are the sections of probes.Kinds, redis before those that refer to it.
func (r *resolver) kindSections() []string {
	out := []string{redisSection}
	for _, kind := range probes.Kinds {
		if kind.Section != "" && !slices.Contains(out, kind.Section) {
			out = append(out, kind.Section)
		}
	}
	return out
}

// entries leaves out entries of a section whose names others refer to.
func (r *resolver) entries(section string, why func(*strictyaml.Node) string) {
	lines := map[string]int{}
	r.list(r.root.Get(section), section, func(entry *strictyaml.Node) string {
		name := text(entry.Get("name"))
		if reason := why(entry); reason != "" {
			r.missing[section] = append(r.missing[section], name)
			return reason
		}
		if first, twice := lines[name]; twice && name != "" {
			r.faults = append(r.faults, entry.Get("name").Fault(fmt.Sprintf("%q stands twice, first on line %d", name, first), "give each its own name"))
		} else if name != "" {
			lines[name] = entry.Get("name").Line
		}
		r.named[section] = append(r.named[section], name)
		return ""
	})
}

// list keeps the items of a list for which why finds no reason to leave them out.
func (r *resolver) list(n *strictyaml.Node, section string, why func(*strictyaml.Node) string) {
	if n == nil {
		return
	}
	n.Items = slices.DeleteFunc(n.Items, func(item *strictyaml.Node) bool {
		if item.Kind != strictyaml.Map {
			return false // the schema says what is wrong
		}
		reason := why(item)
		if reason != "" {
			r.notice(item, section, reason)
		}
		return reason != ""
	})
}

func (r *resolver) notice(n *strictyaml.Node, section, reason string) {
	what := n.Path
	if name := text(n.Get("name")); name != "" {
		what = section + " " + name
	}
	if !strings.HasSuffix(reason, ")") {
		reason += unset(n)
	}
	r.notices = append(r.notices, what+": left out: "+reason)
}

// refer says why what the node names cannot be used: it was left out. A name
// that nobody has is a fault.
func (r *resolver) refer(n *strictyaml.Node, section string) string {
	name := text(n)
	switch {
	case name == "" || slices.Contains(r.named[section], name):
		return ""
	case slices.Contains(r.missing[section], name):
		return fmt.Sprintf("%s %s is left out", section, name)
	}
	cure := "the file has no " + section
	if near := strictyaml.Nearest(name, r.named[section]); near != "" {
		cure = fmt.Sprintf("did you mean %q?", near)
	} else if known := r.named[section]; len(known) > 0 {
		cure = "there are: " + strings.Join(known, ", ")
	} else if gone := r.missing[section]; len(gone) > 0 {
		cure = "those that are there are left out, for their addresses are empty: " + strings.Join(gone, ", ")
	}
	r.faults = append(r.faults, n.Fault(fmt.Sprintf("no entry of %s is named %q", section, name), cure))
	return ""
}

// service leaves out parts of a service, and the service itself when nothing
// is left that could be read of it.
func (r *resolver) service(s *strictyaml.Node) string {
	before, variables := len(r.notices), unset(s)
	where := "services " + text(s.Get("name")) + ": "
	if health := s.Get("health"); health != nil && noAddress(health) {
		s.Delete("health")
		r.notices = append(r.notices, where+"health: left out: its address is empty"+unset(health))
	}
	metrics := s.Get("metrics")
	r.list(metrics.Get("scrape"), where+"metrics.scrape", emptyAddress)
	r.list(s.Get("features"), where+"features", func(feature *strictyaml.Node) string {
		for _, request := range append([]*strictyaml.Node{feature.Get("http")}, itemsOf(feature.Get("steps"))...) {
			if reason := emptyAddress(request); reason != "" {
				return reason
			}
		}
		return r.refer(feature.Get("tenants").Get("postgres"), postgresSection)
	})
	r.names(s.Get("queues"), where+"queues", queuesSection)
	r.names(s.Get("databases"), where+"databases", postgresSection)

	left := s.Get("health") != nil || items(metrics.Get("scrape")) > 0 || items(s.Get("queues")) > 0 || items(s.Get("features")) > 0
	if left || len(r.notices) == before {
		return ""
	}
	r.notices = r.notices[:before] // one notice for all of it
	return "none of its addresses is set" + variables
}

// names checks a list of names of another section, without those left out.
func (r *resolver) names(n *strictyaml.Node, where, section string) {
	if n == nil {
		return
	}
	n.Items = slices.DeleteFunc(n.Items, func(item *strictyaml.Node) bool {
		reason := r.refer(item, section)
		if reason != "" {
			r.notices = append(r.notices, fmt.Sprintf("%s: %s is left out of it: %s", where, text(item), reason))
		}
		return reason != ""
	})
}

func emptyAddress(n *strictyaml.Node) string {
	if noAddress(n) {
		return "its address is empty"
	}
	return ""
}

// noAddress says whether an entry has keys for its address, all of them empty.
// One without any such key is not left out: the schema says what it lacks.
func noAddress(n *strictyaml.Node) bool {
	if n == nil || n.Kind != strictyaml.Map {
		return false
	}
	has := false
	for _, key := range addressKeys {
		if value := n.Get(key); value != nil {
			if !value.Empty() {
				return false
			}
			has = true
		}
	}
	return has
}

// unset names the variables below a node that made it empty.
func unset(n *strictyaml.Node) string {
	var names []string
	var walk func(*strictyaml.Node)
	walk = func(n *strictyaml.Node) {
		if n.Empty() {
			names = append(names, n.Unset...)
		}
		for _, e := range n.Entries {
			if n.Kind == strictyaml.Map && (e.Value.Kind != strictyaml.Scalar || slices.Contains(addressKeys, e.Key)) {
				walk(e.Value)
			}
		}
		for _, item := range n.Items {
			walk(item)
		}
	}
	walk(n)
	if len(names) == 0 {
		return ""
	}
	return " (" + strings.Join(names, ", ") + ")"
}

func text(n *strictyaml.Node) string {
	if n == nil || n.Kind != strictyaml.Scalar || n.Value == nil {
		return ""
	}
	return n.Text
}

func items(n *strictyaml.Node) int { return len(itemsOf(n)) }

func itemsOf(n *strictyaml.Node) []*strictyaml.Node {
	if n == nil {
		return nil
	}
	return n.Items
}
