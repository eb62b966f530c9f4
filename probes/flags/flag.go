package flags

import (
	"encoding/json"
	"strings"
)

// A state is what a flag is set to.
type state string

// The states of a flag, or of one override.
const (
	on      state = "on"
	off     state = "off"
	partial state = "partial" // on for some
	unclear state = "unclear" // a value that is not understood
)

// A flag is one flag as a store holds it.
type flag struct {
	name     string
	kind     string // what Unleash calls its type
	global   state  // "" when only overrides are there
	gradual  bool   // Unleash: on for some of those that have it
	counts   map[override]int
	stateOf  map[string]state // each value that can change by itself, by what it is of: "", company:7
	revision string           // Unleash: everything about the flag, for comparison
}

// An override is a kind of values of their own: companies that have it on.
type override struct {
	scope string
	value state
}

// state is what the flag is, overrides included.
func (f *flag) state() state {
	if f.global == unclear {
		return unclear
	}
	somebody := state("")
	for o := range f.counts {
		if o.value != f.global {
			somebody = o.value
		}
	}
	switch {
	case f.gradual, somebody == on && f.global != on, somebody == off && f.global == on:
		return partial
	case f.global == "":
		return off
	default:
		return f.global
	}
}

// parseValue understands the value of a key: a word, or a JSON object with a
// field enabled.
func parseValue(text string) state {
	switch strings.ToLower(strings.Trim(strings.TrimSpace(text), `"`)) {
	case "true", "1", "on", "yes", "enabled":
		return on
	case "false", "0", "off", "no", "disabled", "":
		return off
	}
	var object struct {
		Enabled *bool `json:"enabled"`
	}
	if json.Unmarshal([]byte(text), &object) != nil || object.Enabled == nil {
		return unclear
	}
	if *object.Enabled {
		return on
	}
	return off
}

// Scopes are those of overrides.
var Scopes = []string{"company", "workspace"}

// parseKey takes a key <prefix>:<flag> or <prefix>:<flag>:<scope>:<id> apart;
// of is empty, or <scope>:<id>.
func parseKey(key, prefix string) (name, scope, of string, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix+":")
	if !ok {
		return "", "", "", false
	}
	for _, s := range Scopes {
		if name, id, found := strings.Cut(rest, ":"+s+":"); found && validName(name) && id != "" {
			return name, s, s + ":" + id, true
		}
	}
	return rest, "", "", validName(rest)
}
