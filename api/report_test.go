package api

import (
	"encoding/xml"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

// rolledBack is a rollout that was rolled back on a window that has seen it.
func rolledBack(t *testing.T) (*world, string) {
	t.Helper()
	court := newJudge(t, false)
	w := newWorldOf(t, court)
	now := time.Now()
	for at := now.Add(-time.Minute); at.Before(now.Add(time.Minute)); at = at.Add(5 * time.Second) {
		require.NoError(t, court.window.Append(at, labels.FromStrings("__name__", "errors", "job", "api"), 0.04))
	}
	finding := firing()
	finding.Query = "errors"
	court.set(func(j *judge) {
		j.findings = []alerts.Finding{finding, {Gate: "target_down", State: alerts.OK, Mode: alerts.Enforce}}
	})
	return w, w.register("api")
}

func TestTheReportIsAMarkdownDraftWithPictures(t *testing.T) {
	w, id := rolledBack(t)
	answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/report", "")
	require.Equal(t, http.StatusOK, answer.Code)
	require.Equal(t, "text/markdown; charset=utf-8", answer.Header().Get("Content-Type"))
	text := answer.Body.String()
	for _, want := range []string{
		"# Post-mortem draft: api 2.4.0 was to be rolled back", id, "| 4.1 % | 1 % |", "```promql\nerrors\n```",
		"](data:image/svg+xml;base64,", "Webhook `verdict.final` for `deployer` is owed still",
	} {
		require.Contains(t, text, want)
	}
}

func TestOneGateIsDrawnByItself(t *testing.T) {
	w, id := rolledBack(t)
	answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/report?format=svg&gate=error_ratio", "")
	require.Equal(t, http.StatusOK, answer.Code)
	require.Equal(t, "image/svg+xml", answer.Header().Get("Content-Type"))
	require.Contains(t, answer.Header().Get("Content-Security-Policy"), "default-src 'none'")
	require.NoError(t, xml.Unmarshal(answer.Body.Bytes(), new(struct{ XMLName xml.Name })))
	require.Contains(t, answer.Body.String(), "<path class=\"s0\"")

	answer = w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/report?format=svg&gate=target_down", "")
	require.Contains(t, answer.Body.String(), "no query draws this gate")
}

func TestReportsThatCannotBeMade(t *testing.T) {
	w, id := rolledBack(t)
	for path, status := range map[string]int{
		"/api/v1/rollouts/r-none/report":                       http.StatusNotFound,
		"/api/v1/rollouts/" + id + "/report?format=pdf":        http.StatusBadRequest,
		"/api/v1/rollouts/" + id + "/report?format=svg":        http.StatusBadRequest,
		"/api/v1/rollouts/" + id + "/report?format=svg&gate=x": http.StatusNotFound,
	} {
		answer := w.do(http.MethodGet, path, "")
		require.Equal(t, status, answer.Code, path)
		require.NotEmpty(t, refusal(t, answer).Message)
	}
	finding := firing()
	finding.Query = "this is not PromQL"
	w.judge.set(func(j *judge) { j.findings = []alerts.Finding{finding} })
	other := w.register("web")
	require.Contains(t, w.do(http.MethodGet, "/api/v1/rollouts/"+other+"/report", "").Body.String(), ": the window could not be read")
}

func TestAnExternalURLIsAnAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"": true, "https://rollwatch.example": true, "http://10.0.0.1:9876/base/": true, "rollwatch.example": false, "ftp://x": false,
		"https://user:secret@x": false, "https://x/?q": false, "javascript:alert(1)": false, "https://": false, "https://x/#y": false,
	} {
		faults := Config{ExternalURL: address}.Validate()
		require.Equal(t, good, len(faults) == 0, address)
		for _, fault := range faults {
			require.NotContains(t, fault.Problem, "secret")
		}
	}
}
