package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes"
	"github.com/rollwatch/rollwatch/probes/probe"
)

const metricsDoc = "../../docs/metrics.md"

// docs/metrics.md is generated from the tables of the kinds and from what the
// rest of the daemon describes: this test writes it, and fails when they have
// changed since.
//
//go:generate go test -run ^TestMetricsPageSaysWhatTheCodeSays$ -update .
func TestMetricsPageSaysWhatTheCodeSays(t *testing.T) {
	r := runFile(t, "data_dir: ${DATA}\nredis:\n  - {name: main, url: \"redis://"+live.Hang(t)+"\"}\n")
	crew := r.crew.Load()
	page := template.Must(template.New("metrics.md.tmpl").Funcs(template.FuncMap{
		"labels": func(m *probe.Metric) string { return shownLabels(append([]string{"target"}, m.Labels...)) },
		"cell":   cell,
	}).ParseFiles("testdata/metrics.md.tmpl"))
	var text strings.Builder
	require.NoError(t, page.Execute(&text, map[string]any{
		"Kinds": kindsWithUp(), "Elsewhere": probes.Elsewhere, "Collector": collector.Metrics,
		"Daemon": described(t, crew.engine, crew.deliverer, r.window),
	}))
	if *update {
		require.NoError(t, os.WriteFile(metricsDoc, []byte(text.String()), 0o644))
		return
	}
	have, err := os.ReadFile(metricsDoc)
	require.NoError(t, err)
	require.Equal(t, text.String(), string(have), "run make generate")
}

// kindsWithUp are the kinds that are read, Up among their metrics, by name.
func kindsWithUp() []probes.Kind {
	var kinds []probes.Kind
	for _, k := range probes.Kinds {
		if k.Up != nil {
			k.Metrics = append(slices.Clone(k.Metrics), k.Up)
		}
		k.Metrics = slices.SortedFunc(slices.Values(k.Metrics), func(a, b *probe.Metric) int { return strings.Compare(a.Name, b.Name) })
		kinds = append(kinds, k)
	}
	return kinds
}

// A description is what a collector of the daemon's own says of one family.
type description struct{ Name, Help, Labels string }

// A Desc tells what is in it by its String alone.
var descText = regexp.MustCompile(`fqName: "([^"]*)", help: "([^"]*)",.* variableLabels: \{(.*)\}\}`)

func described(t *testing.T, collectors ...prometheus.Collector) []description {
	t.Helper()
	var all []description
	for _, c := range collectors {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		for desc := range descs {
			parts := descText.FindStringSubmatch(desc.String())
			require.NotNil(t, parts, desc.String())
			all = append(all, description{parts[1], parts[2], shownLabels(strings.FieldsFunc(parts[3], func(r rune) bool { return r == ',' || r == ' ' }))})
		}
	}
	slices.SortFunc(all, func(a, b description) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func shownLabels(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	return "`" + strings.Join(labels, "` `") + "`"
}
