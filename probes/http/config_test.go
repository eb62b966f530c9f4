package http

import (
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		path   string
	}{
		"no url":              {Config{}, "$.url"},
		"no scheme":           {Config{URL: "api:3001/health"}, "$.url"},
		"another scheme":      {Config{URL: "ftp://api/health"}, "$.url"},
		"credentials":         {Config{URL: "http://u:hunter2@api/health"}, "$.url"},
		"a method that acts":  {Config{URL: "http://api/", Method: "DELETE"}, "$.method"},
		"a body of HEAD":      {Config{URL: "http://api/", Method: "HEAD", Expect: Expect{JSON: map[string]any{"ok": true}}}, "$.expect.json"},
		"an unknown status":   {Config{URL: "http://api/", Expect: Expect{Status: 2000}}, "$.expect.status"},
		"a negative time-out": {Config{URL: "http://api/", Timeout: model.Duration(-1)}, "$.timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			faults := c.config.Validate()
			require.Len(t, faults, 1)
			require.Equal(t, c.path, faults[0].Path)
			require.NotEmpty(t, faults[0].Cure)
			require.NotContains(t, faults[0].Problem, "hunter2")
		})
	}
	require.Empty(t, (&Config{URL: "https://api/health"}).Validate())
}

func TestAddress(t *testing.T) {
	require.Empty(t, (&Config{}).Address(), "a service without a health address is left out")
	require.Equal(t, "http://api:3001/health", (&Config{URL: "http://u:hunter2@api:3001/health?token=hunter2"}).Address())
	require.Equal(t, "(not a URL)", (&Config{URL: "http://%zz"}).Address())
}

// Whatever a health endpoint sends, what is taken from it is bounded and can be
// a label.
func FuzzParse(f *testing.F) {
	for _, body := range []string{
		``, `OK`, `null`, `[]`, `{"status":"ok","info":{"db":{"status":"up"}}}`, `{"status":"error","error":{"db":{"status":"down"}}}`,
		`{"status":"pass","releaseId":"1","checks":{"a":[{"status":"warn"}]}}`, `{"components":{"\u0000":{"status":"UP"}}}`,
		`{"version":{"a":1},"status":["ok"],"details":{"x":7}}`, "{\"details\":{\"\xff\":{\"status\":\"up\"}}}",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h := parse(body)
		if len(h.components) > maxComponents {
			t.Fatalf("%d components", len(h.components))
		}
		names := append(make([]string, 0, 2+len(h.components)), h.status, h.version)
		seen := map[string]bool{}
		for _, c := range h.components {
			if c.name == "" || seen[c.name] || c.state == unknown {
				t.Fatalf("component %q %q", c.name, c.state)
			}
			seen[c.name] = true
			names = append(names, c.name)
		}
		for _, name := range names {
			if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName {
				t.Fatalf("%q cannot be a label", name)
			}
			for _, r := range name {
				if !unicode.IsPrint(r) {
					t.Fatalf("%q cannot be shown", name)
				}
			}
		}
		(Expect{JSON: map[string]any{"ok": true}}).mismatch(body)
	})
}
