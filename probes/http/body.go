package http

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// Bounds of what is taken from a body: it becomes labels and a document.
const (
	maxComponents = 64
	maxName       = 64 // characters
)

// A state is what a body says of the service or of one component.
type state string

const (
	unknown state = ""
	up      state = "up"
	warning state = "warn"
	down    state = "down"
)

// stateWords are the words for it: of health+json (pass, warn, fail), of
// Terminus (ok, error, shutting_down) and of Spring Boot (UP, DOWN, OUT_OF_SERVICE).
var stateWords = map[string]state{
	"pass": up, "ok": up, "up": up, "healthy": up,
	"warn": warning, "degraded": warning,
	"fail": down, "error": down, "down": down, "unhealthy": down, "shutting_down": down, "out_of_service": down,
}

// health is what a body says; the zero value is a body that says nothing.
type health struct {
	state      state
	status     string // the word itself
	version    string
	components []component // at most maxComponents, those that are down first, then by name
	leftOut    int
}

type component struct {
	name     string
	state    state
	observed *float64 // of health+json: the worst of a list has no one value, so only of one
	unit     string
}

// parse reads a body in any of the formats; a body in none of them says nothing.
func parse(body []byte) health {
	var doc struct {
		Status     any                        `json:"status"`
		Version    any                        `json:"version"`
		ReleaseID  any                        `json:"releaseId"`
		Info       map[string]json.RawMessage `json:"info"`
		Error      map[string]json.RawMessage `json:"error"`
		Details    map[string]json.RawMessage `json:"details"`
		Components map[string]json.RawMessage `json:"components"`
		Checks     map[string]json.RawMessage `json:"checks"`
		OK         any                        `json:"ok"` // of a route that somebody wrote by hand: {"ok": true}
	}
	// A field of a wrong type is left out by itself; the rest still counts.
	if err := json.Unmarshal(body, &doc); err != nil && !isTypeError(err) {
		return health{}
	}
	h := health{version: cmp.Or(text(doc.ReleaseID), text(doc.Version))}
	if h.state = stateOf(doc.Status); h.state != unknown {
		h.status = text(doc.Status)
	} else if well, isBool := doc.OK.(bool); isBool {
		h.status, h.state = "ok", up
		if !well {
			h.status, h.state = "not ok", down
		}
	}
	found := map[string]component{}
	for _, part := range []map[string]json.RawMessage{doc.Details, doc.Components, doc.Info, doc.Error, doc.Checks} {
		for name, raw := range part {
			name = printable(name)
			if c := componentOf(raw); c.state != unknown && name != "" {
				c.name, c.state = name, worse(found[name].state, c.state)
				found[name] = c
			}
		}
	}
	h.setComponents(found)
	return h
}

func isTypeError(err error) bool {
	_, ok := errors.AsType[*json.UnmarshalTypeError](err)
	return ok
}

func (h *health) setComponents(found map[string]component) {
	h.components = slices.AppendSeq(h.components, maps.Values(found))
	slices.SortFunc(h.components, func(a, b component) int {
		return cmp.Or(severity(b.state)-severity(a.state), strings.Compare(a.name, b.name))
	})
	if extra := len(h.components) - maxComponents; extra > 0 {
		h.components, h.leftOut = h.components[:maxComponents], extra
	}
}

// componentOf reads {"status": ...}, or a list of them as health+json has it.
func componentOf(raw json.RawMessage) component {
	type one struct {
		Status   any `json:"status"`
		Observed any `json:"observedValue"`
		Unit     any `json:"observedUnit"`
	}
	var list []one
	if err := json.Unmarshal(raw, &list); err != nil {
		list = make([]one, 1)
		if err := json.Unmarshal(raw, &list[0]); err != nil {
			return component{}
		}
	}
	var c component
	for _, each := range list {
		c.state = worse(c.state, stateOf(each.Status))
		if observed, ok := each.Observed.(float64); ok && len(list) == 1 {
			c.observed, c.unit = &observed, text(each.Unit)
		}
	}
	return c
}

func stateOf(status any) state {
	word, _ := status.(string)
	return stateWords[strings.ToLower(word)]
}

func severity(s state) int { return slices.Index([]state{unknown, up, warning, down}, s) }

func worse(a, b state) state {
	if severity(b) > severity(a) {
		return b
	}
	return a
}

// because names the components that are down.
func (h *health) because(code int) string {
	var names []string
	for _, c := range h.components {
		if c.state == down && len(names) < 5 {
			names = append(names, c.name)
		}
	}
	why := fmt.Sprintf("status %d, %s", code, h.status)
	if len(names) > 0 {
		why += ": " + strings.Join(names, ", ") + " down"
	}
	return why
}

// text is a short printable string; "" for anything else.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return printable(v)
	case float64:
		return fmt.Sprint(v)
	}
	return ""
}

// printable keeps foreign text fit for a label and a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > maxName {
		s = string(runes[:maxName])
	}
	return s
}

// mismatch names the first field that is not as expected; empty when all are.
func (e Expect) mismatch(body []byte) string {
	if len(e.JSON) == 0 {
		return ""
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		return "the body is not a JSON object"
	}
	if path := differs("", normal(e.JSON), got); path != "" {
		return fmt.Sprintf("the body's field %s is not as expected", strings.TrimPrefix(path, "."))
	}
	return ""
}

// differs is the path of the first field of want that got lacks or holds with
// another value. Objects may hold more than is wanted; lists may not.
func differs(path string, want, got any) string {
	wanted, ok := want.(map[string]any)
	if !ok {
		if reflect.DeepEqual(want, got) {
			return ""
		}
		return path
	}
	object, ok := got.(map[string]any)
	if !ok {
		return path
	}
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		value, there := object[key]
		if !there {
			return path + "." + key
		}
		if at := differs(path+"."+key, wanted[key], value); at != "" {
			return at
		}
	}
	return ""
}

// normal is a value of the configuration as JSON decodes it: numbers as float64.
func normal(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		return nil
	}
	return out
}
