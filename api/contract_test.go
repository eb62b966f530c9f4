package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gorilla/mux"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

func TestContractIsValidAndServed(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.handler.contract.Validate(t.Context()))
	answer := w.do(http.MethodGet, "/api/v1/openapi.yaml", "")
	require.Equal(t, "application/yaml", answer.Header().Get("Content-Type"))
	require.Equal(t, Contract, answer.Body.Bytes())
}

var pattern = regexp.MustCompile(`\{(\w+):[^}]*\}`)

func TestContractAndRouterHaveTheSameOperations(t *testing.T) {
	w := newWorld(t)
	var routed, promised []string
	require.NoError(t, w.handler.router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		require.NoError(t, err)
		methods, err := route.GetMethods()
		require.NoError(t, err)
		for _, method := range methods {
			if method != http.MethodHead { // comes with every GET
				routed = append(routed, method+" "+pattern.ReplaceAllString(path, "{$1}"))
			}
		}
		return nil
	}))
	for path, item := range w.handler.contract.Paths.Map() {
		for method := range item.Operations() {
			promised = append(promised, method+" "+path)
		}
	}
	require.ElementsMatch(t, promised, routed)
}

// The schemas have the fields of the Go types that are encoded, and no others.
func TestContractHasTheFieldsOfTheTypes(t *testing.T) {
	w := newWorld(t)
	for name, value := range map[string]any{
		"Registration": verdict.Registration{}, "Rollout": verdict.Rollout{}, "Stage": verdict.Stage{},
		"Migration": verdict.Migration{}, "Override": verdict.Override{}, "Document": verdict.Document{},
		"Missing": verdict.Missing{}, "Action": verdict.Action{}, "SchemaChange": alerts.SchemaChange{}, "FrozenSchema": verdict.FrozenSchema{}, "Delivery": verdict.Delivery{}, "Gate": gateAnswer{},
		"Finding": alerts.Finding{}, "Baseline": alerts.Baseline{}, "Finding.evidence": alerts.Evidence{}, "Finding.baseline": alerts.BaselineValue{},
		"Pace": alerts.Pace{}, "Dispersion": alerts.Dispersion{},
	} {
		t.Run(name, func(t *testing.T) {
			schema, property, _ := strings.Cut(name, ".")
			described := w.handler.contract.Components.Schemas[schema].Value
			if property != "" {
				described = described.Properties[property].Value
			}
			var fields []string
			for name := range described.Properties {
				fields = append(fields, name)
			}
			require.ElementsMatch(t, jsonFields(reflect.TypeOf(value)), fields)
		})
	}
}

func jsonFields(of reflect.Type) []string {
	var fields []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous:
			fields = append(fields, jsonFields(field.Type)...)
		case name != "-" && field.IsExported():
			fields = append(fields, name)
		}
	}
	return fields
}

func TestContractNamesEveryWord(t *testing.T) {
	w := newWorld(t)
	schemas := w.handler.contract.Components.Schemas
	words := func(schema *openapi3.Schema) []string {
		words := make([]string, len(schema.Enum))
		for i, word := range schema.Enum {
			words[i] = word.(string)
		}
		return words
	}
	require.ElementsMatch(t, text(verdict.Words), words(schemas["Verdict"].Value))
	require.ElementsMatch(t, text(alerts.States), words(schemas["Finding"].Value.Properties["state"].Value))
	codes := words(schemas["Error"].Value.Properties["error"].Value.Properties["code"].Value)
	require.Len(t, codes, len(statuses))
	for code := range statuses {
		require.True(t, slices.Contains(codes, string(code)), code)
	}
}

// current gives an example the times of today: it stands still, and expires.
func current(example any) any {
	object := maps.Clone(example.(map[string]any))
	if object["until"] != nil {
		object["until"] = time.Now().Add(time.Hour).Format(time.RFC3339)
	}
	if object["started_at"] != nil {
		object["started_at"] = time.Now().Format(time.RFC3339)
	}
	return object
}

func text[T ~string](values []T) []string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return texts
}

// Whoever copies an example out of the contract is understood.
func TestContractExamplesAreTaken(t *testing.T) {
	w := newWorld(t)
	for path, item := range w.handler.contract.Paths.Map() {
		for method, operation := range item.Operations() {
			if operation.RequestBody == nil {
				continue
			}
			media := operation.RequestBody.Value.Content["application/json"]
			examples := []any{}
			if media.Example != nil {
				examples = append(examples, media.Example)
			}
			for _, example := range media.Examples {
				examples = append(examples, example.Value.Value)
			}
			for _, example := range examples {
				body, err := json.Marshal(current(example))
				require.NoError(t, err)
				id := w.register("api")
				answer := w.do(method, strings.ReplaceAll(path, "{id}", id), string(body))
				require.Equal(t, 2, answer.Code/100, "%s %s: %s", method, path, answer.Body)
			}
		}
	}
}
