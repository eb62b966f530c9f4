package strictyaml_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rollwatch/rollwatch/cmd/rollwatch/strictyaml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const schema = `{
  "type": "object", "additionalProperties": false, "required": ["name"],
  "properties": {
    "name": {"type": "string"},
    "password": {"type": "string"},
    "interval": {"type": "string", "pattern": "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$"},
    "limit": {"type": "number", "minimum": 0},
    "count": {"type": "integer"},
    "on": {"type": "boolean"},
    "mode": {"type": "string", "enum": ["observe", "hold", "enforce"]},
    "only": {"type": "array", "items": {"type": "string"}},
    "free": {"type": "object"},
    "services": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {"metrics": {"type": "object"}, "health": {"type": "object"}}}}
  }
}`

// read does what a caller does: parse, expand, check.
func read(t *testing.T, text string, env map[string]string) (*strictyaml.Node, strictyaml.Faults) {
	t.Helper()
	s, err := strictyaml.NewSchema([]byte(schema))
	require.NoError(t, err)
	root, faults := strictyaml.Parse("f.yml", []byte(text))
	if len(faults) > 0 {
		return root, faults
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	if faults := root.Expand(lookup); len(faults) > 0 {
		return root, faults
	}
	return root, s.Check(root)
}

func TestEveryFaultIsSaidAtOnceWithPlaceAndCure(t *testing.T) {
	_, faults := read(t, `name: x
interval: 15
limit: "100"
mode: enforced
only: main
services:
  - metricz: {}
  - zzz: 1
count: 1.5
on: yes
`, nil)
	require.Equal(t, strings.TrimSpace(`
f.yml:2:11: interval: 15 has no unit; write 15s
f.yml:3:8: limit: is the text "100", wants a number; leave the quotes out
f.yml:4:7: mode: "enforced" is not allowed; did you mean "enforce"? Allowed: observe, hold, enforce
f.yml:5:7: only: is the text "main", wants a list; write [main]
f.yml:7:5: services[0].metricz: unknown key; did you mean "metrics"?
f.yml:8:5: services[1].zzz: unknown key; known here: health, metrics
f.yml:9:8: count: is 1.5, wants a whole number
f.yml:10:5: on: is the text "yes", wants true or false`), faults.String())
}

func TestWhatIsNoDocument(t *testing.T) {
	big := strings.Repeat("a: b\n", strictyaml.MaxSize/5+1)
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "f.yml: is empty"},
		"only a BOM":       {"\ufeff\n", "f.yml: is empty"},
		"only comments":    {"# nothing\n", "f.yml: is empty but for comments"},
		"too large":        {big, "f.yml: is 1048580 bytes long, more than the 1048576 a configuration may have"},
		"binary":           {"name: x\n\x7fELF\x00", "f.yml:2:1: is not UTF-8 text: byte 0x7f"},
		"Latin-1":          {"name: caf\xe9", "f.yml:1:10: is not UTF-8 text: byte 0xe9"},
		"UTF-16":           {"\xff\xfen\x00", "f.yml:1:1: is not UTF-8 text: byte 0xff"},
		"two documents":    {"name: x\n---\nname: y\n", "f.yml:3:5: begins a second document; keep everything in one, without ---"},
		"a list":           {"- a\n", "f.yml:1:1: is not a mapping of keys to values; the file begins with a key, as interval: 15s"},
		"a scalar":         {"hello", "f.yml:1:1: is not a mapping of keys to values; the file begins with a key, as interval: 15s"},
		"a tab":            {"name: x\nfree:\n\ta: 1\n", "f.yml:3:1: found character '\t' that cannot start any token; indent with spaces, not with tabs"},
		"a duplicate":      {"name: x\nname: y\n", "f.yml:2:1: name: stands twice, first on line 1; keep one"},
		"an anchor":        {"name: &a x\npassword: *a\n", "f.yml:1:7: name: anchors and aliases are not read; write the value out\nf.yml:2:11: password: anchors and aliases are not read; write the value out"},
		"a merge":          {"free: &a {b: 1}\nservices: [{<<: *a}]\n", "f.yml:1:7: free: anchors and aliases are not read; write the value out\nf.yml:2:13: services[0]: anchors, merge keys and tags are not read; write the keys out"},
		"a tag":            {"name: !!binary aGk=\n", "f.yml:1:7: name: tags are not read; leave !!binary out"},
		"a bare variable":  {"name: x\nfree: {a: ${X}}\n", `f.yml:2:12: ',' or '}' must be specified; inside { } and [ ] quote a variable, as "${VAR}"`},
		"infinity":         {"name: x\nlimit: .inf\n", `f.yml:2:8: limit: ".inf" is not a value that can be read`},
		"deep brackets":    {"name: " + strings.Repeat("[", 100000), "f.yml:1:71: nested too deeply"},
		"deep dashes":      {strings.Repeat("- ", 100000), "f.yml:1:129: nested too deeply"},
		"unclosed":         {"name: ${X\n", "f.yml:1:7: name: ${X has no closing brace; write ${VAR}, ${VAR:-default}, or $${ for a literal ${"},
		"no variable":      {"name: ${X Y}\n", "f.yml:1:7: name: ${X Y} is not a variable; write ${VAR}, ${VAR:-default}, or $${ for a literal ${"},
		"nested variables": {"name: ${X:-${Y}}\n", "f.yml:1:7: name: ${X:-${Y} is not a variable; write ${VAR}, ${VAR:-default}, or $${ for a literal ${"},
		"a missing key":    {"interval: 1s\n", "f.yml:1:1: name: is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, faults := read(t, c.text, nil)
			require.Equal(t, c.want, faults.String())
		})
	}
}

func TestVariablesBecomeWhatTheyLookLike(t *testing.T) {
	env := map[string]string{"N": "100", "T": "true", "S": "a: [b", "E": "", "P": "0123"}
	root, faults := read(t, `name: "${N}"
password: ${P}
limit: ${N}
on: ${T}
interval: ${E:-30s}
count: ${MISSING}
only: ["${S}", "$${N}", "x${E}y", "${MISSING:-d:-e}"]
`, env)
	require.Empty(t, faults)
	require.Equal(t, map[string]any{
		"name": "100", "password": "0123", "limit": uint64(100), "on": true, "interval": "30s",
		"only": []any{"a: [b", "${N}", "xy", "d:-e"},
	}, root.Any())
	require.Equal(t, []string{"E"}, root.Get("only").Items[2].Unset)
}

func TestDecodeKeepsEveryText(t *testing.T) {
	type target struct {
		Name string `yaml:"name"`
	}
	for _, text := range []string{"plain", "a\nb\t\"c\" 'd' \\ \u2028 é 🦉 <&>", " spaced ", "#", "null", "~", "0x10", "1e3", "- a", "{}"} {
		root, faults := strictyaml.Parse("f.yml", []byte("name: ${X}"))
		require.Empty(t, faults)
		root.Get("name").Plain = false // as when it is quoted
		require.Empty(t, root.Expand(func(string) (string, bool) { return text, true }))
		var got target
		require.Empty(t, root.Decode(&got))
		require.Equal(t, text, got.Name)
	}
	root, _ := strictyaml.Parse("f.yml", []byte("name: [x]\nother: 1"))
	require.NotEmpty(t, root.Decode(&target{}))
}

func TestAFaultFindsTheNearestPlace(t *testing.T) {
	root, _ := strictyaml.Parse("f.yml", []byte("name: x\nservices:\n  - metrics: {a: 1}\n"))
	entry := root.Get("services").Items[0]
	require.Equal(t, "f.yml:3:18: services[0].metrics.a: wrong", entry.FaultAt("$.metrics.a", "wrong", "").String())
	require.Equal(t, "f.yml:3:14: services[0].metrics.b[0]: wrong", entry.FaultAt("$.metrics.b[0]", "wrong", "").String())
	require.Equal(t, "f.yml:3:5: services[0]: wrong", entry.FaultAt("$", "wrong", "").String())
}

// FuzzRead feeds what an editor, a template engine or a wrong path may leave:
// it must answer with faults or a tree, never panic or hang.
func FuzzRead(f *testing.F) {
	if seed, err := os.ReadFile("../testdata/rollwatch.yml"); err == nil {
		f.Add(seed)
	}
	for _, s := range []string{"name: ${A:-b}\nonly: [a]\n", "a: &x [*x]", "? a\n: b", "%YAML 1.2\n---\na: |\n  b\n", "a:\n- b\n -c", "'", "\"\\x", "!!map {a: b}", "a: >-\n\n", "{a: b, ? c}", "<<: {a: b}", "- - - -", "[[[{"} {
		f.Add([]byte(s))
	}
	s, err := strictyaml.NewSchema([]byte(schema))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4<<10 {
			return // long inputs are slow to parse and find nothing new
		}
		root, faults := strictyaml.Parse("f.yml", text)
		if len(faults) > 0 {
			_ = faults.String()
			return
		}
		root.Expand(func(string) (string, bool) { return "1", true })
		if len(s.Check(root)) == 0 {
			require.Empty(t, root.Decode(new(map[string]any)))
		}
	})
}
