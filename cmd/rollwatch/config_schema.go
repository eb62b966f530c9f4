package main

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/units"
	"github.com/invopop/jsonschema"
	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/cmd/rollwatch/strictyaml"
	"github.com/rollwatch/rollwatch/probes"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// sizePattern is the pattern of amounts of memory and disk.
const sizePattern = `^[0-9]+(\.[0-9]+)?([KMGTPE]i?)?B?$`

// fileSchema is the schema that every configuration is checked against.
var fileSchema = sync.OnceValue(func() *strictyaml.Schema { return compiled(schemaJSON()) })

// gateTestSchema is the schema that every file of `rollwatch gate test` is checked
// against: a decoder names no line.
var gateTestSchema = sync.OnceValue(func() *strictyaml.Schema {
	text, err := json.Marshal(reflector.Reflect(gateTestFile{}))
	if err != nil {
		panic("the schema made from our own types cannot be written: " + err.Error())
	}
	return compiled(text)
})

func compiled(text []byte) *strictyaml.Schema {
	schema, err := strictyaml.NewSchema(text)
	if err != nil {
		panic("the schema made from our own types is no schema: " + err.Error())
	}
	return schema
}

// schemaJSON renders the JSON Schema of the configuration file from the structs
// that it is decoded into.
func schemaJSON() []byte {
	root := reflector.Reflect(Sections{})
	root.ID, root.Title = "", "rollwatch.yml"
	for section, entry := range kindSchemas() {
		root.Properties.Set(section, &jsonschema.Schema{Type: "array", Items: entry})
	}
	root.Properties.Set("gates", gatesSchema())
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("the schema made from our own types cannot be written: " + err.Error())
	}
	return text
}

// kindSchemas are the schemas of one entry of each section of probes.Kinds. In
// a section of several kinds an entry is told by its key kind.
func kindSchemas() map[string]*jsonschema.Schema {
	out := map[string]*jsonschema.Schema{}
	for _, kind := range probes.Kinds {
		if kind.Section == "" {
			continue
		}
		entry := reflector.Reflect(kind.New())
		entry.Version = ""
		if kind.Selector == "" {
			out[kind.Section] = entry
			continue
		}
		section, ok := out[kind.Section]
		if !ok {
			section = &jsonschema.Schema{Type: "object", Required: []string{"kind"}, Properties: jsonschema.NewProperties()}
			section.Properties.Set("kind", &jsonschema.Schema{Type: "string"})
			out[kind.Section] = section
		}
		selector, _ := section.Properties.Get("kind")
		selector.Enum = append(selector.Enum, kind.Selector)
		is := jsonschema.NewProperties()
		is.Set("kind", &jsonschema.Schema{Const: kind.Selector})
		section.AllOf = append(section.AllOf, &jsonschema.Schema{
			If:   &jsonschema.Schema{Properties: is, Required: []string{"kind"}},
			Then: entry,
		})
	}
	return out
}

// gatesSchema allows the built-in gates by name, and the user's own.
func gatesSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", AdditionalProperties: jsonschema.FalseSchema, Properties: jsonschema.NewProperties()}
	for _, gate := range alerts.Builtin {
		tuning := reflector.Reflect(alerts.Tuning{})
		tuning.Version, tuning.Description = "", gate.Help
		s.Properties.Set(gate.Name, tuning)
	}
	custom := reflector.Reflect(alerts.Custom{})
	custom.Version = ""
	s.Properties.Set("custom", &jsonschema.Schema{Type: "array", Items: custom})
	return s
}

var reflector = jsonschema.Reflector{
	Anonymous: true, ExpandedStruct: true, DoNotReference: true,
	FieldNameTag:               "yaml",
	RequiredFromJSONSchemaTags: true,
	Mapper:                     mapType,
	LookupComment:              lookUpComment,
}

// The comments of the structs' source, which the program would not have
// otherwise: they are what an editor shows of a key.
//
//go:generate go test -run ^TestSchemaSaysWhatTheCodeSays$ -update .
//go:embed schema_comments.json
var schemaCommentsJSON []byte

var schemaComments = sync.OnceValue(func() map[string]string {
	var comments map[string]string
	if err := json.Unmarshal(schemaCommentsJSON, &comments); err != nil {
		panic("schema_comments.json, which is generated, is no JSON: " + err.Error())
	}
	return comments
})

func lookUpComment(t reflect.Type, field string) string {
	return schemaComments()[commentKey(t, field)]
}

// commentKey names a type, or a field of it, as schema_comments.json does.
func commentKey(t reflect.Type, field string) string {
	pkg := strings.TrimPrefix(t.PkgPath(), "github.com/rollwatch/rollwatch/")
	if pkg == "main" { // as the program itself calls it; its tests do not
		pkg = "cmd/rollwatch"
	}
	return strings.TrimSuffix(pkg+"."+t.Name()+"."+field, ".")
}

// mapType gives the schemas of types that are written as text.
func mapType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[probe.Secret]():
		return &jsonschema.Schema{Type: "string", WriteOnly: true}
	case reflect.TypeFor[model.Duration](), reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: strictyaml.DurationPattern}
	case reflect.TypeFor[units.Base2Bytes]():
		return &jsonschema.Schema{Type: "string", Pattern: sizePattern}
	}
	return nil
}
