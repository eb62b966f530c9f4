package flags

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// discoverInterval is how often new flags are looked for, and the registry is read
// again. The values of those that are known are read each time.
const discoverInterval = time.Minute

// The most that is shown of a store.
const (
	maxFlags  = 1000 // that have series
	maxEvents = 20   // changes in the health document
)

// viewRegistry is the part of a reading that is the registry file.
const viewRegistry = "registry"

// A store is where flags are kept.
type store interface {
	read(ctx context.Context, registered []string) (snapshot, error)
	discover(ctx context.Context) error
}

// A snapshot is what a store holds.
type snapshot struct {
	flags   map[string]*flag
	views   []probe.View
	whole   bool // a flag that is not there was removed
	dropped int  // keys that were too many
}

// reader is the probe of one store.
type reader struct {
	store        store
	registryFile string

	before map[string]*flag // the last snapshot; nil before the first
	past   map[string]history
	events []event

	mu       sync.Mutex
	registry registry // nil without a file, or before it was read
	listed   probe.View
}

// A history is what was seen of one flag.
type history struct {
	changes float64
	last    time.Time
}

// An event is one change that was seen, as the health document shows it.
type event struct {
	Flag string `json:"flag"`
	Of   string `json:"of,omitempty"` // company:<id>, workspace:<id>
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	At   string `json:"at"`
}

// Close does nothing: no connection is kept.
func (r *reader) Close() error { return nil }

// DiscoverInterval is how often Discover should run.
func (r *reader) DiscoverInterval() time.Duration { return discoverInterval }

// Discover looks for new flags, and reads the registry file.
func (r *reader) Discover(ctx context.Context) error {
	if r.registryFile != "" {
		registry, err := readRegistry(r.registryFile)
		r.mu.Lock()
		r.listed = probe.View{Name: viewRegistry, State: probe.ViewRead}
		if err != nil { // what was known of it still holds
			r.listed.State, r.listed.Err = probe.ViewFailed, err
		} else {
			r.registry = registry
		}
		r.mu.Unlock()
	}
	if err := r.store.discover(ctx); err != nil {
		return fmt.Errorf("look for flags: %w", err)
	}
	return nil
}

// Read reads every flag.
func (r *reader) Read(ctx context.Context) (probe.Reading, error) {
	r.mu.Lock()
	registry, listed := r.registry, r.listed
	r.mu.Unlock()
	found, err := r.store.read(ctx, registry.names())
	if err != nil {
		return probe.Reading{}, err
	}
	now := time.Now()
	r.compare(found, now)

	names := slices.Sorted(maps.Keys(found.flags))
	reading := probe.Reading{Views: found.views, Dropped: found.dropped, Details: map[string]any{"flags": len(names)}}
	if r.registryFile != "" {
		reading.Views = append(reading.Views, listed)
	}
	samples := []probe.Sample{total.Sample(float64(len(names)))}
	for _, name := range names[:min(len(names), maxFlags)] {
		samples = r.samples(samples, found.flags[name], registry, now)
	}
	reading.Dropped += max(0, len(names)-maxFlags)
	if registry != nil {
		strangers, late := census(names, registry, now)
		samples = append(samples, unregistered.Sample(float64(len(strangers))))
		if len(late) > 0 {
			reading.Details["overdue"] = late[:min(len(late), maxEvents)]
		}
		if len(strangers) > 0 {
			reading.Details["unregistered"] = strangers[:min(len(strangers), maxEvents)]
		}
	}
	if len(r.events) > 0 {
		reading.Details["changes"] = slices.Clone(r.events)
	}
	reading.Samples = samples
	return reading, nil
}

// census finds the flags that the registry does not know, and those that it
// wants gone.
func census(names []string, registry registry, now time.Time) (strangers, late []string) {
	for _, name := range names {
		when, known := registry[name]
		switch {
		case !known:
			strangers = append(strangers, name)
		case !when.IsZero() && now.After(when):
			late = append(late, name)
		}
	}
	return strangers, late
}

// samples are what is to be said of one flag.
func (r *reader) samples(to []probe.Sample, f *flag, registry registry, now time.Time) []probe.Sample {
	to = append(to, info.Sample(1, f.name, string(f.state()), f.kind))
	if f.global == on || f.global == off {
		to = append(to, enabled.Sample(truth(f.global == on), f.name))
	}
	for o, n := range f.counts {
		to = append(to, overrides.Sample(float64(n), f.name, o.scope, string(o.value)))
	}
	past := r.past[f.name]
	to = append(to, changes.Sample(past.changes, f.name))
	if !past.last.IsZero() {
		to = append(to, changed.Sample(float64(past.last.Unix()), f.name))
	}
	if when := registry[f.name]; !when.IsZero() {
		to = append(to, removal.Sample(float64(when.Unix()), f.name), overdue.Sample(truth(now.After(when)), f.name))
	}
	return to
}

// truth is a bool as metrics show it.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// compare finds what has changed since the last reading.
func (r *reader) compare(found snapshot, now time.Time) {
	if !found.whole {
		return
	}
	defer func() { r.before = found.flags }()
	if r.before == nil {
		return
	}
	for name, f := range found.flags {
		before := r.before[name]
		if before == nil {
			before = &flag{}
		}
		r.changed(name, before, f, now)
	}
	for name, before := range r.before {
		if found.flags[name] == nil {
			r.changed(name, before, &flag{}, now)
			delete(r.past, name)
		}
	}
}

// changed notes the differences between a flag before and after.
func (r *reader) changed(name string, before, after *flag, now time.Time) {
	of := maps.Clone(before.stateOf)
	if of == nil {
		of = map[string]state{}
	}
	maps.Copy(of, after.stateOf)
	n := 0
	for _, of := range slices.Sorted(maps.Keys(of)) {
		if from, to := before.stateOf[of], after.stateOf[of]; from != to {
			n++
			r.note(event{Flag: name, Of: of, From: string(from), To: string(to), At: now.UTC().Format(time.RFC3339)})
		}
	}
	if n == 0 && before.revision != after.revision {
		n++
		r.note(event{Flag: name, From: string(before.state()), To: string(after.state()), At: now.UTC().Format(time.RFC3339)})
	}
	if n > 0 {
		past := r.past[name]
		r.past[name] = history{changes: past.changes + float64(n), last: now}
	}
}

func (r *reader) note(e event) {
	r.events = append([]event{e}, r.events...) // the newest first
	r.events = r.events[:min(len(r.events), maxEvents)]
}

// validName says whether a label can hold the name of a flag.
func validName(name string) bool {
	return name != "" && len(name) <= 200 && utf8.ValidString(name)
}
