package alerts

import (
	"fmt"
	"strings"
	"testing"
	"text/template"

	_ "embed"

	"github.com/stretchr/testify/require"
)

//go:embed testdata/gates.md.tmpl
var gatesPage string

// TestGeneratedPage keeps docs/gates.md what the tables say.
func TestGeneratedPage(t *testing.T) {
	page := template.Must(template.New("gates.md").Funcs(template.FuncMap{
		"limit": limitInWords, "for": durationInWords,
		"code": inCode, "applies": func(g Gate) string { return configuredBy[g.Name] },
		"grace": func(g Gate) string { return map[bool]string{true: "yes"}[FiresInGrace(g.Name)] },
		"tune":  tunable,
	}).Parse(gatesPage))
	var text strings.Builder
	require.NoError(t, page.Execute(&text, map[string]any{"Gates": Builtin, "Presets": Presets, "Pools": Pools, "Assumed": usualBatch, "States": States, "Routes": notTraffic}))
	generated(t, "../docs/gates.md", []byte(text.String()))
}

// configuredBy says what of a service brings a gate into force, which code
// cannot say of itself; a gate without a line here fails the test.
var configuredBy = map[string]string{
	"error_ratio":  "`metrics`",
	"outage":       "`metrics`",
	"latency_p99":  "`metrics` with a histogram",
	"queue_failed": "`queues`",
	"target_down":  "`health` or `metrics`",

	"critical_feature": "`features`",
	"canary_errors":    "`metrics`, and `tracks` or `version_label`",
	"canary_latency":   "the same, with a histogram",
	"queue_stalled":    "`queues`",
	"queue_rate":       "`completions`, and `tracks` or `version_label`; or `queues` with `worker_tracks`",
	"queue_failures":   "the same, with `failures`",
	"pool_exhausted":   "`metrics`, or `pool`",
	"data_corruption":  "`databases`",
	"tenant_errors":    "`metrics`, and `tenant_label` or `tenant_labels`",
}

func TestEveryGateIsDocumented(t *testing.T) {
	for _, gate := range Builtin {
		require.NotEmpty(t, configuredBy[gate.Name], gate.Name)
		require.NotEmpty(t, gate.Help, gate.Name)
		require.NotEmpty(t, gate.Summary, gate.Name)
		ways := 0
		for _, way := range []bool{gate.Count != nil, gate.Compare != nil, gate.Eval != nil} {
			if way {
				ways++
			}
		}
		require.Equal(t, 1, ways, "%s has one way to be judged", gate.Name)
	}
}

func limitInWords(g Gate) string {
	switch {
	case g.Factor > 0:
		return fmt.Sprintf("%g x p99, for %s of the requests", g.Factor, g.figure(g.Limit))
	case g.Limit == 0:
		return ""
	case g.Unit == "ratio":
		return "> " + g.figure(g.Limit)
	default:
		return fmt.Sprintf(">= %g %s", g.Limit, g.Unit)
	}
}

func durationInWords(g Gate) string {
	if g.For == 0 {
		return "since the start"
	}
	return short(g.For)
}

// tunable names the keys by which the gate may be tuned.
func tunable(g Gate) string {
	var keys []string
	for _, key := range []struct {
		name string
		may  bool
	}{{"limit", g.MaxLimit > 0}, {"for", g.For > 0}, {"factor", g.Factor > 0}, {"mode", true}, {"required", true}} {
		if key.may {
			keys = append(keys, "`"+key.name+"`")
		}
	}
	return strings.Join(keys, ", ")
}

func inCode(v any) string {
	switch v := v.(type) {
	case []string:
		if len(v) == 0 {
			return ""
		}
		return "`" + strings.Join(v, "`, `") + "`"
	default:
		return fmt.Sprintf("`%v`", v)
	}
}
