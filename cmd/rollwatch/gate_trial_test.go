package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// The stories of the gates, each from series to verdict, by the command with which
// operators test theirs; and the format that they were promised.
func TestTheStoriesOfTheGates(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/gates/*.yml")
	require.NoError(t, err)
	files = slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "rollwatch.yml" })
	require.Greater(t, len(files), 12)
	for _, file := range append(files, "testdata/gate-test.yml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			code, stdout, stderr := rollwatch(t, "gate", "test", file)
			require.Zero(t, code, "%s%s", stdout, stderr)
			require.Contains(t, stdout, "ok    ")
		})
	}
}

func TestWhatIsNotAsExpectedIsSaid(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("rollwatch.yml", "services: [{name: api, metrics: {preset: prom-client, scrape: [{url: 'http://127.0.0.1:3001/metrics'}]}}]\n")
	const rollout = "rollout: {service: api, version: '2', strategy: blue-green, started_at: 10m}"

	wrong := write("wrong.yml", `
config: rollwatch.yml
tests:
  - {name: right, input_series: [], `+rollout+`, verdicts: [{at: 15m, not: promote}]}
  - {name: wrong, input_series: [], `+rollout+`, verdicts: [{at: 11m, verdict: continue}, {at: 16m, verdict: promote, gate: outage, missing: canary_errors}]}
`)
	code, stdout, stderr := rollwatch(t, "gate", "test", wrong)
	require.Equal(t, 1, code)
	require.Empty(t, stderr)
	require.Regexp(t, `^ok    right
FAIL  wrong
        at 16m: the verdict is hold, not promote; outage is not among the reasons \(.*\); canary_errors is not missing \(.*error_ratio.*\): hold: .+
$`, stdout)

	latched := write("latched.yml", `
config: rollwatch.yml
tests:
  - name: latched
    input_series:
      - {series: 'http_request_duration_seconds_count{job="api",status_code="200"}', values: '0+300x160'}
      - {series: 'http_request_duration_seconds_count{job="api",status_code="500"}', values: '0+0x44 300+300x20 6300x100'}
    `+rollout+`
    verdicts: [{at: 30m, verdict: rollback, gate: error_ratio}, {at: 31m, verdict: promote}]
`)
	code, stdout, _ = rollwatch(t, "gate", "test", latched)
	require.Equal(t, 1, code)
	require.Regexp(t, `^FAIL  latched
        at 31m: the verdict is rollback, not promote: roll back: decided at 1970-01-01T00:1\d:\d\dZ: 5xx .+% > .+% for .+
$`, stdout, "what it latched for is told long after")

	right := write("right.yml", "tests: [{name: right, "+rollout+", verdicts: [{at: 15m, not: promote}]}]\n")
	code, stdout, stderr = rollwatch(t, "gate", "test", "--config.file="+filepath.Join(folder, "rollwatch.yml"), right)
	require.Zero(t, code, "%s%s", stdout, stderr)
	code, _, stderr = rollwatch(t, "gate", "test")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "wants the file of a test")

	for text, fault := range map[string]string{
		"config: rollwatch.yml\ntests: [{name: a, rollout: {service: web, strategy: rolling}, verdicts: [{at: 1m}]}]":                     `no service named "web"`,
		"config: rollwatch.yml\ntests: [{name: a, " + rollout + ", verdicts: [{at: 5m, verdict: hold}]}]":                                 "before the rollout",
		"config: rollwatch.yml\ntests: [{name: a, " + rollout + "}]":                                                                      "no verdicts are expected",
		"config: rollwatch.yml\ntests: [{name: a, input_series: [{series: 'up{', values: '1'}], " + rollout + ", verdicts: [{at: 15m}]}]": "input_series[0]",
		"config: rollwatch.yml\ntests: [{name: a, rollout: {service: api, version: '2', strategy: magic}, verdicts: [{at: 15m}]}]":        "strategy",
		"config: rollwatch.yml\ninterval: 1ms\ntests: [{name: a, " + rollout + ", verdicts: [{at: 1y}]}]":                                 "at 1y is more than 1000000 judgements after the rollout starts",
		"config: rollwatch.yml\ntests: []":                                        "no tests",
		"tests: [{name: a}]":                                                      "no config",
		"config: nowhere.yml\ntests: [{}]":                                        "nowhere.yml",
		"config: rollwatch.yml\ntests: {a}":                                       "faulty.yml:2:8: tests: ",
		"config: rollwatch.yml\ntests:\n  - name: a\n    rollout: 5\n":            "faulty.yml:4:14: tests[0].rollout: is 5, wants a mapping",
		"tests:\n  - name: a\n    verdicts:\n      - {at: 12, verdict: rolback}":  "faulty.yml:4:14: tests[0].verdicts[0].at: 12 has no unit; write 12s\n",
		"tests:\n  - name: a\n    verdicts:\n      - {at: 12m, verdict: rolback}": `faulty.yml:4:28: tests[0].verdicts[0].verdict: "rolback" is not allowed; did you mean "rollback"?`,
	} {
		code, _, stderr := rollwatch(t, "gate", "test", write("faulty.yml", text))
		require.Equal(t, 2, code, "%s\n%s", text, stderr)
		require.Contains(t, stderr, fault, text)
	}

	code, _, stderr = rollwatch(t, "gate", "test", os.DevNull)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "not a regular file", "a device may have no end")
}

// Ctrl-C and a time limit of the pipeline end a test that takes long.
func TestAGateTestEndsWhenItIsInterrupted(t *testing.T) {
	config, err := configLoader{file: "testdata/gates/rollwatch.yml", lookup: os.LookupEnv}.load()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	test := gateTest{
		Rollout:  testRollout{Service: "site", Version: "2", Strategy: "rolling"},
		Verdicts: []wantedVerdict{{At: model.Duration(time.Hour)}},
	}
	_, err = test.run(ctx, config, 15*time.Second)
	require.ErrorIs(t, err, context.Canceled)
}
