// Package dashboards builds the Grafana dashboards that ship with rollwatch:
// Go that builds them, and beside it the JSON it builds. Limits are drawn from
// what the gates export, never written here a second time.
package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

//go:generate go run ./write

// All builds every dashboard: the JSON that Grafana imports, by file name.
func All() (map[string][]byte, error) {
	files := map[string][]byte{}
	for name, builder := range map[string]*dashboard.DashboardBuilder{
		"rollouts.json": rollouts(),
	} {
		built, err := builder.Build()
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", name, err)
		}
		if files[name], err = encode(built); err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
	}
	return files, nil
}

// source is the data source chosen at the top of the dashboard.
var source = common.DataSourceRef{Type: new("prometheus"), Uid: new("${datasource}")}

// query is one PromQL query with its legend.
func query(expr, legend string) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().Expr(expr).LegendFormat(legend)
}

// look is how a value is shown.
type look struct{ text, colour string }

// mapping shows values as words in colours.
func mapping(looks map[string]look) []dashboard.ValueMapping {
	options := map[string]dashboard.ValueMappingResult{}
	for value, l := range looks {
		options[value] = dashboard.ValueMappingResult{Text: &l.text, Color: &l.colour}
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: options}}}
}

// verdictColours maps the numbers of coded back to verdicts.
func verdictColours() []dashboard.ValueMapping {
	colours := map[verdict.Word]string{
		verdict.Continue: "blue", verdict.Promote: "green", verdict.HoldOn: "orange", verdict.Rollback: "red",
	}
	looks := map[string]look{}
	for i, word := range verdict.Words {
		looks[strconv.Itoa(i+1)] = look{string(word), colours[word]}
	}
	return mapping(looks)
}

// stateColours maps the numbers of coded back to the states of gates.
func stateColours() []dashboard.ValueMapping {
	colours := map[alerts.State]string{
		alerts.OK: "green", alerts.Pending: "yellow", alerts.Firing: "red", alerts.WarmingUp: "blue",
	}
	looks := map[string]look{}
	for i, state := range alerts.States {
		colour := colours[state]
		if state.Missing() {
			colour = "semi-dark-orange"
		}
		looks[strconv.Itoa(i+1)] = look{string(state), colour}
	}
	return mapping(looks)
}

// grafanaUnit is Grafana's name for a unit of ours.
func grafanaUnit(unit string) string {
	switch unit {
	case "ratio":
		return "percentunit"
	case "seconds":
		return "s"
	default:
		return "short"
	}
}

// rolloutMarks marks the minute in which a rollout started.
func rolloutMarks() *dashboard.AnnotationQueryBuilder {
	return dashboard.NewAnnotationQueryBuilder().
		Name("Rollouts").
		Datasource(source).
		Enable(true).
		IconColor("purple").
		Expr(`(time() - rollwatch_rollout_started_timestamp_seconds{service=~"$service"} < 60) * on (service, rollout) group_left (version) rollwatch_rollout_info`)
}

// encode writes a dashboard as JSON. The annotations' titles and steps are put
// in by hand: Grafana reads them, and the SDK's AnnotationQuery has none.
func encode(built dashboard.Dashboard) ([]byte, error) {
	type annotation struct {
		dashboard.AnnotationQuery
		TitleFormat string `json:"titleFormat"`
		TextFormat  string `json:"textFormat"`
		TagKeys     string `json:"tagKeys"`
		Step        string `json:"step"`
	}
	var annotations []annotation
	for _, query := range built.Annotations.List {
		annotations = append(annotations, annotation{query, "{{service}} {{version}}", "{{rollout}}", "service,version", "15s"})
	}
	whole := struct {
		dashboard.Dashboard
		Annotations map[string][]annotation `json:"annotations"`
	}{built, map[string][]annotation{"list": annotations}}

	var file bytes.Buffer
	encoder := json.NewEncoder(&file)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(whole)
	return file.Bytes(), err
}

// Queries are the PromQL expressions of every panel, variable and annotation,
// sorted, with Grafana's own variables filled in as Grafana would.
func Queries() ([]string, error) {
	files, err := All()
	if err != nil {
		return nil, err
	}
	var found []string
	for name, file := range files {
		var tree any
		if err := json.Unmarshal(file, &tree); err != nil {
			return nil, fmt.Errorf("decode %s: %w", name, err)
		}
		found = append(found, expressions(tree)...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// asGrafana fills in what Grafana fills in.
var asGrafana = strings.NewReplacer("$service", ".+", "$__rate_interval", "1m", "$__interval", "15s")

// expressions are the values of all keys "expr" in a tree of JSON.
func expressions(tree any) []string {
	var found []string
	switch node := tree.(type) {
	case map[string]any:
		for key, value := range node {
			if expr, ok := value.(string); ok && key == "expr" {
				found = append(found, asGrafana.Replace(expr))
			}
			found = append(found, expressions(value)...)
		}
	case []any:
		for _, value := range node {
			found = append(found, expressions(value)...)
		}
	}
	return found
}
