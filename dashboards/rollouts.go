package dashboards

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

// rollouts is the dashboard of who decides: the verdict, each gate's observed
// value against its limit, and what the verdict stands on.
func rollouts() *dashboard.DashboardBuilder {
	board := dashboard.NewDashboardBuilder("Rollouts").
		Uid("rollwatch-rollouts").
		Description("The verdict on every rollout, each gate's observed value against its limit, and the targets the verdict stands on.").
		Tags([]string{"rollwatch"}).
		Readonly().
		Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Time("now-1h", "now").
		Refresh("15s").
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(service()).
		Annotation(rolloutMarks())

	board.WithRow(dashboard.NewRowBuilder("Verdict")).
		WithPanel(verdictNow()).
		WithPanel(verdictTimeline()).
		WithPanel(rolloutTable())
	board.WithRow(dashboard.NewRowBuilder("Gates: observed against limit")).
		WithPanel(gateTimeline())
	for _, gate := range alerts.Builtin {
		board.WithPanel(gatePanel(gate))
	}
	board.WithRow(dashboard.NewRowBuilder("What the verdict stands on")).
		WithPanel(targetTimeline()).
		WithPanel(probeDuration()).
		WithPanel(baselines()).
		WithPanel(webhooks())
	return board
}

// service is the variable that all panels are filtered by.
func service() cog.Builder[dashboard.VariableModel] {
	query := "label_values(rollwatch_rollout_info, service)"
	return dashboard.NewQueryVariableBuilder("service").
		Label("Service").
		Datasource(source).
		Query(dashboard.StringOrMap{String: &query}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).IncludeAll(true).AllValue(".+")
}

// verdictNow shows one coloured word a service.
func verdictNow() *stat.PanelBuilder {
	return stat.NewPanelBuilder().
		Title("Verdict").
		Description("The verdict on the newest rollout of each service.").
		Datasource(source).Span(8).Height(6).
		ColorMode(common.BigValueColorModeBackground).
		GraphMode(common.BigValueGraphModeNone).
		NoValue("no rollout").
		Mappings(verdictColours()).
		WithTarget(query(coded("service", "rollwatch_verdict", "verdict", wordNames()), "{{service}}").Instant())
}

// verdictTimeline shows how each rollout's verdict went over time.
func verdictTimeline() *statetimeline.PanelBuilder {
	return statetimeline.NewPanelBuilder().
		Title("Verdicts over time").
		Description("How the verdict on each rollout went.").
		Datasource(source).Span(16).Height(6).
		ShowValue(common.VisibilityModeAuto).
		Mappings(verdictColours()).
		WithTarget(query(coded("service, rollout", "rollwatch_verdict", "verdict", wordNames()), "{{service}} {{rollout}}"))
}

// rolloutTable names versions and strategies.
func rolloutTable() *table.PanelBuilder {
	return table.NewPanelBuilder().
		Title("Rollouts").
		Description("What is being rolled out, and how.").
		Datasource(source).Span(24).Height(5).
		WithTarget(query(`rollwatch_rollout_info{service=~"$service"}`, "").Format("table").Instant()).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{
			"excludeByName": map[string]bool{"Time": true, "Value": true, "__name__": true, "instance": true, "job": true},
		}})
}

// gateTimeline shows what every gate says.
func gateTimeline() *statetimeline.PanelBuilder {
	var states []string
	for _, state := range alerts.States {
		states = append(states, string(state))
	}
	return statetimeline.NewPanelBuilder().
		Title("Gates").
		Description("What each gate says. Warming up and the missing states are neither good nor bad; they only keep a rollout from being promoted.").
		Datasource(source).Span(24).Height(8).
		ShowValue(common.VisibilityModeAuto).
		Mappings(stateColours()).
		WithTarget(query(coded("service, gate", "rollwatch_gate_state", "state", states), "{{service}} {{gate}}"))
}

// gatePanel draws one gate's observed value and, from the same definition that
// decides, its limit.
func gatePanel(gate alerts.Gate) *timeseries.PanelBuilder {
	observed := fmt.Sprintf(`rollwatch_gate_observed{service=~"$service",gate=%q}`, gate.Name)
	limit := fmt.Sprintf(`rollwatch_gate_limit{service=~"$service",gate=%q}`, gate.Name)
	return timeseries.NewPanelBuilder().
		Title(gate.Name).
		Description(gate.Help).
		Datasource(source).Span(12).Height(7).
		Unit(grafanaUnit(gate.Unit)).Min(0).
		OverrideByRegexp(".* limit$", []dashboard.DynamicConfigValue{
			{Id: "color", Value: map[string]string{"mode": "fixed", "fixedColor": "red"}},
			{Id: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{8, 6}}},
		}).
		WithTarget(query(observed, "{{service}} observed")).
		WithTarget(query(limit, "{{service}} limit"))
}

// targetTimeline shows which targets answered.
func targetTimeline() *statetimeline.PanelBuilder {
	return statetimeline.NewPanelBuilder().
		Title("Targets").
		Description("Whether each target answered its newest reading.").
		Datasource(source).Span(12).Height(8).
		ShowValue(common.VisibilityModeNever).
		Mappings(mapping(map[string]look{"0": {"down", "red"}, "1": {"up", "green"}})).
		WithTarget(query("max by (kind, target) (rollwatch_probe_up)", "{{kind}}:{{target}}"))
}

// probeDuration shows what reading costs.
func probeDuration() *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().
		Title("Time to read a target").
		Description("How long the newest reading of each target took.").
		Datasource(source).Span(12).Height(8).
		Unit("s").Min(0).
		WithTarget(query("max by (kind, target) (rollwatch_probe_duration_seconds)", "{{kind}}:{{target}}"))
}

// baselines shows what rollouts are compared with.
func baselines() *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().
		Title("Baselines").
		Description("What the newest rollout of each service is compared with; frozen when it was registered.").
		Datasource(source).Span(12).Height(7).Min(0).
		WithTarget(query(`rollwatch_baseline{service=~"$service"}`, "{{service}} {{signal}}")).
		WithTarget(query(`rollwatch_latency_edge{service=~"$service"}`, "{{service}} latency edge {{le}} s"))
}

// webhooks shows what is owed to deploy tools.
func webhooks() *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().
		Title("Webhooks").
		Description("Deliveries still owed, and attempts by outcome.").
		Datasource(source).Span(12).Height(7).Min(0).
		WithTarget(query("sum(rollwatch_webhook_owed)", "owed")).
		WithTarget(query("sum by (endpoint, outcome) (increase(rollwatch_webhook_deliveries_total[$__rate_interval]))", "{{endpoint}} {{outcome}}"))
}

// coded turns a family that is 1 for the current word and 0 for the others into
// the word's number, its place in words, so that a timeline can draw it.
func coded(by, family, label string, words []string) string {
	parts := make([]string, len(words))
	for i, word := range words {
		parts[i] = fmt.Sprintf(`%s{service=~"$service",%s=%q} * %d`, family, label, word, i+1)
	}
	return fmt.Sprintf("max by (%s) (%s)", by, strings.Join(parts, " or "))
}

// wordNames are the verdicts as label values.
func wordNames() []string {
	var names []string
	for _, word := range verdict.Words {
		names = append(names, string(word))
	}
	return names
}
