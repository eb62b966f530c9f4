package strictyaml

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// DurationPattern is the pattern a schema gives to durations. A value that
// fails it is told about units.
const DurationPattern = `^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$`

// A Schema is a JSON Schema that documents are checked against.
type Schema struct {
	compiled *jsonschema.Schema
	document any // the same schema as data, to look up what would have been allowed
}

// schemaURL names the schema in its own error locations; nothing is fetched.
const schemaURL = "mem:///schema.json"

// NewSchema compiles a JSON Schema without outside references.
func NewSchema(document []byte) (*Schema, error) {
	data, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	if err := compiler.AddResource(schemaURL, data); err != nil {
		return nil, fmt.Errorf("add schema: %w", err)
	}
	compiled, err := compiler.Compile(schemaURL)
	if err != nil {
		return nil, fmt.Errorf("compile schema: %w", err)
	}
	return &Schema{compiled, data}, nil
}

// Check finds everything in the tree that the schema refuses. It mends what
// YAML leaves open first: plain text that looks like a number or a truth is
// text where text is wanted, and a key without a value is a key left out.
func (s *Schema) Check(root *Node) Faults {
	for mended := true; mended; {
		mended = false
		for _, leaf := range s.refusals(root) {
			mended = mend(root, leaf) || mended
		}
	}
	var faults Faults
	for _, leaf := range s.refusals(root) {
		faults = append(faults, s.faults(root, leaf)...)
	}
	return faults.Sorted()
}

// refusals are the leaves of the validator's tree of errors.
func (s *Schema) refusals(root *Node) []*jsonschema.ValidationError {
	var top *jsonschema.ValidationError
	if !errors.As(s.compiled.Validate(root.Any()), &top) {
		return nil
	}
	var leaves []*jsonschema.ValidationError
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			leaves = append(leaves, e)
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(top)
	return leaves
}

// mend changes the tree where a refusal is only about how YAML typed a scalar.
func mend(root *Node, leaf *jsonschema.ValidationError) bool {
	wrong, ok := leaf.ErrorKind.(*kind.Type)
	node, via, whole := root.At(leaf.InstanceLocation)
	if !ok || !whole || node.Kind != Scalar {
		return false
	}
	switch {
	case node.Value == nil && via != nil:
		parent, _, _ := root.At(leaf.InstanceLocation[:len(leaf.InstanceLocation)-1])
		parent.Delete(via.Key)
		return true
	case node.Plain && node.Value != nil && slices.Contains(wrong.Want, "string"):
		node.Value = node.Text
		return true
	}
	return false
}

// faults explains one refusal.
func (s *Schema) faults(root *Node, leaf *jsonschema.ValidationError) Faults {
	node, _, _ := root.At(leaf.InstanceLocation)
	switch k := leaf.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		var faults Faults
		known := s.knownKeys(leaf.SchemaURL)
		entries := make(map[string]Entry, len(node.Entries))
		for _, e := range node.Entries {
			entries[e.Key] = e
		}
		for _, key := range k.Properties {
			faults = append(faults, unknownKey(node, key, entries[key], known))
		}
		return faults
	case *kind.Required:
		var faults Faults
		for _, key := range k.Missing {
			f := node.Fault("is missing", "")
			f.Path = join(node.Path, key)
			faults = append(faults, f)
		}
		return faults
	case *kind.Type:
		return Faults{node.Fault(fmt.Sprintf("is %s, wants %s", describe(node), wanted(k.Want)), wrongTypeCure(node, k.Want))}
	case *kind.Enum:
		return Faults{notOneOf(node, k.Want)}
	case *kind.Pattern:
		if k.Want == DurationPattern {
			return Faults{noDuration(node)}
		}
		return Faults{node.Fault(fmt.Sprintf("%q is not allowed", k.Got), "it must match "+k.Want)}
	}
	return Faults{node.Fault(leaf.ErrorKind.LocalizedString(message.NewPrinter(language.English)), "")}
}

func unknownKey(node *Node, key string, e Entry, known []string) Fault {
	f := node.Fault("unknown key", "")
	if e.Value != nil {
		f.Line, f.Column, f.Path = e.Line, e.Column, e.Value.Path
	}
	if near := Nearest(key, known); near != "" {
		f.Cure = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) > 0 {
		f.Cure = "known here: " + strings.Join(known, ", ")
	}
	return f
}

// Nearest returns the known word that a misspelt one probably means, or "".
func Nearest(word string, known []string) string {
	best, distance := "", 1+max(2, len(word)/3)
	for _, k := range known {
		if d := levenshtein.ComputeDistance(strings.ToLower(word), k); d < min(distance, len(word)) {
			best, distance = k, d
		}
	}
	return best
}

func notOneOf(node *Node, want []any) Fault {
	allowed := make([]string, 0, len(want))
	for _, w := range want {
		allowed = append(allowed, fmt.Sprint(w))
	}
	cure := "write one of " + strings.Join(allowed, ", ")
	if near := Nearest(node.Text, allowed); near != "" {
		cure = fmt.Sprintf("did you mean %q? Allowed: %s", near, strings.Join(allowed, ", "))
	}
	return node.Fault(fmt.Sprintf("%q is not allowed", node.Text), cure)
}

func noDuration(node *Node) Fault {
	digits := strings.Trim(node.Text, "0123456789") == "" && node.Text != ""
	if digits {
		return node.Fault(node.Text+" has no unit", "write "+node.Text+"s")
	}
	return node.Fault(fmt.Sprintf("%q is not a duration", node.Text), "write it as 30s, 5m or 1h30m")
}

func describe(n *Node) string {
	switch {
	case n.Kind == Map:
		return "a mapping"
	case n.Kind == List:
		return "a list"
	case n.Value == nil:
		return "empty"
	}
	if text, ok := n.Value.(string); ok {
		return fmt.Sprintf("the text %q", text)
	}
	return n.Text
}

// wanted says a JSON type in words.
func wanted(types []string) string {
	words := map[string]string{"string": "text", "boolean": "true or false", "array": "a list", "object": "a mapping",
		"number": "a number", "integer": "a whole number", "null": "nothing"}
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = words[t]
	}
	return strings.Join(out, " or ")
}

func wrongTypeCure(n *Node, want []string) string {
	text, isText := n.Value.(string)
	switch {
	case n.Kind != Scalar:
		return ""
	case slices.Contains(want, "array") && !n.Empty():
		return "write [" + n.Text + "]"
	case isText && !n.Plain && (slices.Contains(want, "number") || slices.Contains(want, "integer") || slices.Contains(want, "boolean")):
		if _, same := retyped(text).(string); !same {
			return "leave the quotes out"
		}
	}
	return ""
}

// knownKeys are the properties of the schema at a location.
func (s *Schema) knownKeys(location string) []string {
	_, pointer, _ := strings.Cut(location, "#")
	here := s.document
	for part := range strings.SplitSeq(strings.Trim(pointer, "/"), "/") {
		if part == "" {
			continue
		}
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch v := here.(type) {
		case map[string]any:
			here = v[part]
		case []any:
			var i int
			if _, err := fmt.Sscanf(part, "%d", &i); err != nil || i < 0 || i >= len(v) {
				return nil
			}
			here = v[i]
		}
	}
	object, _ := here.(map[string]any)
	properties, _ := object["properties"].(map[string]any)
	keys := make([]string, 0, len(properties))
	for k := range properties {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Decode fills into (a pointer) from the tree. What the schema let through and
// the type refuses is one fault at the node's place.
func (n *Node) Decode(into any) Faults {
	text, err := json.Marshal(n.Any())
	if err != nil {
		return Faults{n.Fault(err.Error(), "")}
	}
	// JSON is YAML: going through text keeps to one decoder, whose unmarshalers
	// the sections' types already have.
	if err := yaml.UnmarshalWithOptions(text, into, yaml.Strict()); err != nil {
		// Its position is one in text that nobody wrote.
		if placed, ok := errors.AsType[yaml.Error](err); ok {
			return Faults{n.Fault(placed.GetMessage(), "")}
		}
		return Faults{n.Fault(err.Error(), "")}
	}
	return nil
}
