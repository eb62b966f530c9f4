package alerts

import (
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/probe"
)

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(text), &v, yaml.Strict()))
	return v
}

// written are faults as a reader sees them.
func written(faults []probe.Fault) string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.Path + ": " + f.Problem + ": " + f.Cure
	}
	return strings.Join(lines, "\n")
}

func TestServiceFaultsNameTheFieldAndTheCure(t *testing.T) {
	for text, want := range map[string]string{
		`{name: api, metrics: {preset: prom-client}, tenant_label: t, version_label: v}`: "",
		`{name: api, tracks: {canary: {track: canary}, stable: {track: stable}}}`:        "",
		`{name: api, metrics: {requests: 'a', errors: 'a{code=~"5.."}', latency: b}}`:    "",
		`{name: rollwatch}`: "$.name: the name rollwatch is taken: it is the job of what rollwatch reads itself: call the service something else",
		`{name: api, tenant_label: t, tenant_labels: [a, b]}`:                      "$.tenant_labels: tenant_label and tenant_labels are both set: keep tenant_labels, the hierarchy, or tenant_label alone",
		`{name: api, tenant_label: t}`:                                             "$.tenant_label: no metrics are configured that could carry it: add metrics, or leave it out",
		`{name: api, metrics: {preset: otel}, tenant_labels: [a, b, a]}`:           "$.tenant_labels[2]: a is in the hierarchy twice: name each level once, the largest unit first",
		`{name: api, metrics: {preset: otel}, tenant_labels: [a, ""]}`:             `$.tenant_labels[1]: "" is not the name of a label: name a label of the service's own metrics, as in tenant`,
		`{name: api, metrics: {preset: otel}, version_label: v, tenant_label: v}`:  "$.tenant_label: v is the version_label: name the label that tells tenants apart",
		`{name: api, metrics: {preset: otel}, tenant_label: instance}`:             "$.tenant_label: instance tells the scraped processes apart: name the label that tells tenants apart",
		`{name: api, metrics: {preset: prom-clent}}`:                               `$.metrics.preset: preset "prom-clent" is unknown: did you mean prom-client?`,
		`{name: api, metrics: {preset: micrometer}}`:                               `$.metrics.preset: preset "micrometer" is unknown: use one of prom-client, otel, otel-legacy, nginx-ingress, traefik, envoy, istio, none`,
		`{name: api, metrics: {preset: otel, requests: a, errors: b}}`:             "$.metrics.preset: a preset and selectors of one's own are both set: keep one: the preset, or requests, errors and latency",
		`{name: api, metrics: {latency: a}}`:                                       "$.metrics.requests: missing, while errors or latency are named: name the counter of requests, as in http_requests_total",
		`{name: api, metrics: {requests: a}}`:                                      `$.metrics.errors: missing, while requests is named: name the series that count errors, as in http_requests_total{code=~"5.."}`,
		`{name: w, completions: a, failures: b, concurrency: c, version_label: v}`: "",
		`{name: w, pool: {waiting: a, busy: b, max: c}}`:                           "",
		`{name: w, failures: a, version_label: v}`:                                 "$.completions: missing, while failures or concurrency are named: name the counter of completed jobs, as in jobs_completed_total",
		`{name: w, completions: a}`:                                                "$.completions: neither tracks nor version_label tell the workers of two versions apart: name the labels that do, as tracks or as version_label",
		`{name: w, completions: 'a{', version_label: v}`:                           "$.completions: not a PromQL selector: at 1:3: unexpected end of input inside braces: write a metric with labels, as in http_requests_total{code=~\"5..\"}",
		`{name: w, pool: {busy: b}}`:                                               "$.pool.waiting: missing: name the gauge of those who wait for a connection, as in db_pool_waiting\n$.pool.idle: nothing tells when no connection is free: name idle, or both busy and max",
		`{name: api, metrics: {preset: otel}, tenant_label: t, route_label: t}`:    "$.route_label: t tells versions or tenants apart: name the label that tells routes apart",
		`{name: api, route_label: r}`:                                              "$.route_label: no metrics are configured that could carry it: add metrics, or leave it out",
		`{name: api, metrics: {preset: otel}, route_label: a-b}`:                   `$.route_label: "a-b" is not the name of a label: name a label of the service's own metrics, as in route`,
		`{name: api, metrics: {requests: 'a{', errors: '{x="1"}'}}`: "$.metrics.requests: not a PromQL selector: at 1:3: unexpected end of input inside braces: write a metric with labels, as in http_requests_total{code=~\"5..\"}\n" +
			"$.metrics.errors: the selector names no metric: begin it with the metric's name",
		`{name: api, tracks: {canary: {track: a}}}`:                     "$.tracks: only one of the two tracks is named: name canary and stable: the one is judged by the other",
		`{name: api, tracks: {canary: {track: a}, stable: {track: a}}}`: "$.tracks: canary and stable are selected by the same labels: name the label that tells them apart",
		`{name: api, tracks: {blue: {track: a}, canary: {}}}`:           "$.tracks.blue: track \"blue\" is unknown: a service has the tracks canary and stable\n$.tracks.canary: no label selects the track: name the labels that its series carry, as in {track: canary}",
	} {
		t.Run(text, func(t *testing.T) {
			s := decode[Service](t, text)
			require.Equal(t, want, written(s.Validate()))
		})
	}
}

func TestTuningFaultsNameTheFieldAndTheCure(t *testing.T) {
	for text, want := range map[string]string{
		`error_ratio: {limit: 0.05, for: 10m, mode: observe, required: false}`: "",
		`latency_p99: {factor: 2.5, for: 5m}`:                                  "",
		`queue_failed: {limit: 1000, mode: hold}`:                              "",
		`eror_ratio: {limit: 0.05}`:                                            `$.eror_ratio: there is no gate "eror_ratio": did you mean error_ratio?`,
		`error_ratio: {limit: 1}`:                                              "$.error_ratio.limit: 1 is out of range: use a share between 0 and 1, as in 0.01",
		`outage: {limit: 0}`:                                                   "$.outage.limit: 0 is out of range: use a share between 0 and 1, as in 0.5",
		`queue_failed: {limit: -1}`:                                            "$.queue_failed.limit: -1 is out of range: use more than 0 jobs, as in 100",
		`latency_p99: {limit: 0.02}`:                                           "$.latency_p99.limit: the limit of latency_p99 is fixed: leave limit out; `rollwatch gate list` shows what can be tuned",
		`latency_p99: {factor: 1}`:                                             "$.latency_p99.factor: 1 would fire on a service that is as it was: use more than 1, as in 3",
		`error_ratio: {factor: 3}`:                                             "$.error_ratio.factor: error_ratio compares with no multiple of the baseline: leave factor out",
		`queue_failed: {for: 5m}`:                                              "$.queue_failed.for: queue_failed counts from the start of the rollout: leave `for` out",
		`error_ratio: {for: 0s}`:                                               "$.error_ratio.for: a window must be longer than nothing: use a duration, as in 5m",
		`queue_failed: {mode: enforce}`:                                        "$.queue_failed.mode: queue_failed compares with no baseline, so it can hold but not roll back: use hold or observe",
		`canary_errors: {require_detectable: 3}`:                               "",
		`error_ratio: {require_detectable: 0}`:                                 "",
		`canary_errors: {require_detectable: 1.5}`:                             "$.canary_errors.require_detectable: no traffic would prove a version 1.5 times as bad: use 1.75 or more, as in 3, or 0 to require nothing",
		`canary_errors: {require_detectable: .nan}`:                            "$.canary_errors.require_detectable: no traffic would prove a version NaN times as bad: use 1.75 or more, as in 3, or 0 to require nothing",
		`queue_stalled: {require_detectable: 3}`:                               "$.queue_stalled.require_detectable: queue_stalled says of no effect how large it must be to be found: leave require_detectable out",
		`canary_latency: {require_detectable: 3, required: false}`:             "$.canary_latency.require_detectable: what is not required blocks no promotion: leave required: false out",
		`canary_latency: {require_detectable: 3, mode: observe}`:               "$.canary_latency.require_detectable: a gate that only observes blocks no promotion: use mode hold or enforce",
		`outage: {mode: warn}`:                                                 `$.outage.mode: mode "warn" is unknown: use observe, hold or enforce`,
	} {
		t.Run(text, func(t *testing.T) {
			cfg := Config{Tuned: decode[map[string]Tuning](t, text)}
			require.Equal(t, want, written(cfg.Validate()))
		})
	}
}

func TestCustomFaultsNameTheFieldAndTheCure(t *testing.T) {
	for text, want := range map[string]string{
		`[{name: a, service: api, signal: 'sum(rate(x[5m]))', above: 1, for: 5m, verdict: rollback, mode: hold}]`:                                    "",
		`[{name: a, service: api, signal: x, above: 1, below: 2}]`:                                                                                   "$.custom[0].below: above and below are both set: keep the one that is bad",
		`[{name: a, service: api, signal: x}]`:                                                                                                       "$.custom[0].above: no limit: set above or below",
		`[{name: a, service: api, signal: 'sum(rate(x[5m))', above: 1}]`:                                                                             "$.custom[0].signal: not PromQL: at 1:14: unexpected \")\" in subquery or range, expected \":\" or \"]\": try it in Prometheus first",
		`[{name: a, service: api, signal: 'x[5m]', above: 1}]`:                                                                                       "$.custom[0].signal: the signal is a range vector: make it one number, as in sum(rate(x[5m]))",
		`[{name: A b, service: api, signal: x, above: 1}]`:                                                                                           `$.custom[0].name: "A b" is not a gate's name: use small letters, digits and _, as in checkout_success`,
		`[{name: outage, service: api, signal: x, above: 1}]`:                                                                                        `$.custom[0].name: "outage" is a built-in gate: choose another name`,
		`[{name: data_corruption, service: api, signal: x, above: 1}]`:                                                                               `$.custom[0].name: "data_corruption" is a built-in gate: choose another name`,
		`[{name: a, signal: x, above: 1}]`:                                                                                                           "$.custom[0].service: missing: name the service whose rollouts the gate judges",
		`[{name: a, service: api, signal: x, above: .nan}]`:                                                                                          "$.custom[0]: the limit is not a number: use a finite number",
		`[{name: a, service: api, signal: x, above: 1, verdict: hold, mode: enforce}]`:                                                               "$.custom[0].mode: a gate whose verdict is hold enforces nothing: use mode hold, or verdict rollback",
		`[{name: a, service: api, signal: x, above: 1, verdict: no, mode: maybe}]`:                                                                   "$.custom[0].verdict: verdict \"no\" is unknown: use rollback or hold\n$.custom[0].mode: mode \"maybe\" is unknown: use observe, hold or enforce",
		`[{name: a, service: api, signal: x, above: 1}, {name: a, service: web, signal: x, above: 1}, {name: a, service: api, signal: y, above: 1}]`: `$.custom[2].name: service api has a gate "a" already: give each gate its own name`,
	} {
		t.Run(text, func(t *testing.T) {
			cfg := Config{Custom: decode[[]Custom](t, text)}
			require.Equal(t, want, written(cfg.Validate()))
		})
	}
}

func TestAWindowMustHoldTwoScrapes(t *testing.T) {
	above := 1.0
	window := model.Duration(30 * time.Second)
	cfg := Config{
		Tuned:  map[string]Tuning{"outage": {For: &window}},
		Custom: []Custom{{Name: "a", Service: "api", Signal: "x", Above: &above}, {Name: "b", Service: "api", Signal: "x", Above: &above, For: window}},
	}
	require.Empty(t, cfg.ValidateInterval(15*time.Second))
	require.Equal(t, "$.outage.for: 30s holds less than two scrapes, one every 20s: use 40s or more, or a shorter interval\n"+
		"$.custom[1].for: 30s holds less than two scrapes, one every 20s: use 40s or more, or a shorter interval",
		written(cfg.ValidateInterval(20*time.Second)))
}

func TestGatesInForce(t *testing.T) {
	no, limit := false, 0.02
	below := 0.9
	mine := func(verdict string, mode Mode) Custom {
		return Custom{Name: "mine", Service: "api", Signal: "x", Below: &below, Verdict: verdict, Mode: mode}
	}
	names := func(gates []Gate) (out []string) {
		for _, g := range gates {
			out = append(out, g.Name)
		}
		return out
	}
	api := exampleServices()[0]
	require.Equal(t, []string{"error_ratio", "outage", "latency_p99", "canary_errors", "canary_latency", "tenant_errors", "queue_rate", "queue_failures", "queue_stalled", "queue_failed", "pool_exhausted", "target_down", "data_corruption", "critical_feature", "mine"}, names(Gates(Config{Custom: []Custom{mine("", "")}}, api)))
	require.Equal(t, []string{"target_down"}, names(Gates(Config{Custom: []Custom{mine("", "")}}, healthOnly())))
	require.Equal(t, []string{"queue_stalled", "queue_failed"}, names(Gates(Config{}, &Service{Name: "worker", Queues: []string{"jobs"}})))
	require.Equal(t, []string{"error_ratio", "outage", "pool_exhausted", "target_down"}, names(Gates(Config{}, &Service{Name: "x", Metrics: Metrics{Requests: "a", Errors: "b"}})), "no histogram, no latency")

	worker := &Service{Name: "w", Completions: "a", VersionLabel: "version", Metrics: Metrics{Scrape: []collector.ScrapeTarget{{}}}}
	require.Equal(t, []string{"queue_rate", "pool_exhausted", "target_down"}, names(Gates(Config{}, worker)), "a worker has no requests, and nobody says what it fails")
	worker.Failures, worker.Metrics.Preset = "b", DefaultPreset
	require.Equal(t, []string{"error_ratio", "outage", "latency_p99", "canary_errors", "canary_latency", "queue_rate", "queue_failures", "pool_exhausted", "target_down"}, names(Gates(Config{}, worker)))

	cfg := Config{Tuned: map[string]Tuning{
		"error_ratio": {Limit: &limit, Mode: Observe}, "outage": {Required: &no}, "target_down": {Required: &no, Mode: Hold},
	}}
	gates := Gates(cfg, api)
	require.Equal(t, limit, gates[0].Limit)
	require.False(t, gates[0].Required, "what only observes decides nothing")
	require.Equal(t, 0.01, Builtin[0].Limit, "the table is not touched")
	require.True(t, gates[1].InGrace)
	require.False(t, gates[0].InGrace)
	require.Equal(t, "target_down", gates[11].Name)
	require.Equal(t, Hold, gates[11].Mode)
	require.False(t, gates[11].Required)

	for _, c := range []struct {
		verdict    string
		mode, want Mode
	}{
		{"rollback", "", Enforce}, {"rollback", Enforce, Enforce}, {"rollback", Hold, Hold}, {"rollback", Observe, Observe},
		{"hold", "", Hold}, {"hold", Observe, Observe}, {"", "", Hold},
	} {
		custom := mine(c.verdict, c.mode)
		require.Equal(t, c.want, custom.gate().Mode, "verdict %q, mode %q", c.verdict, c.mode)
	}
	for gate, may := range map[string]bool{"outage": true, "data_corruption": true, "critical_feature": true, "error_ratio": false, "target_down": false} {
		require.Equal(t, may, FiresInGrace(gate), gate)
	}
}
