package main

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what is generated in place of comparing it")

// schema_comments.json is generated: this test writes it, and fails when the
// comments of a struct have changed since.
func TestSchemaSaysWhatTheCodeSays(t *testing.T) {
	const module = "github.com/rollwatch/rollwatch/"
	t.Chdir("../..")
	var source jsonschema.Reflector
	for _, folder := range []string{"probes", "collector", "alerts", "verdict", "api", "cmd"} {
		require.NoError(t, source.AddGoComments(module, folder, jsonschema.WithFullComment()))
	}
	asked := map[string]string{}
	restore := reflector.LookupComment
	defer func() { reflector.LookupComment = restore }()
	reflector.LookupComment = func(typ reflect.Type, field string) string {
		key := commentKey(typ, field)
		if text := source.CommentMap[module+key]; text != "" {
			asked[key] = strings.Join(strings.Fields(text), " ")
		}
		return ""
	}
	schemaJSON()
	want, err := json.MarshalIndent(asked, "", "  ")
	require.NoError(t, err)
	want = append(want, '\n')
	if *update {
		require.NoError(t, os.WriteFile("cmd/rollwatch/schema_comments.json", want, 0o644))
		return
	}
	require.JSONEq(t, string(want), string(schemaCommentsJSON), "run make generate")
}
