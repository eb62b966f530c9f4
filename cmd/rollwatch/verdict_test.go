package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

// A script is a daemon that answers each question with its next line, and with
// the last one for ever. A line is a verdict document or a status code.
type script struct {
	mu    sync.Mutex
	lines []any
	paths []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, r.URL.RequestURI())
	line := s.lines[0]
	if len(s.lines) > 1 {
		s.lines = s.lines[1:]
	}
	if status, ok := line.(int); ok {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":{"code":"some","message":"answered %d"}}`, status)
		return
	}
	_ = json.NewEncoder(w).Encode(line)
}

// says makes a document.
func says(word verdict.Word, change ...func(*verdict.Document)) verdict.Document {
	d := verdict.Document{
		Schema: verdict.Schema, Rollout: "r-1", Service: "api", Version: "2.4.0", Strategy: alerts.Canary,
		Verdict: word, Phase: "0-5m", Progress: "watching: " + string(word), Seq: 1,
	}
	for _, c := range change {
		c(&d)
	}
	return d
}

func final(d *verdict.Document)      { d.Final = true }
func dry(d *verdict.Document)        { d.DryRun = true }
func superseded(d *verdict.Document) { d.SupersededBy = "r-2"; d.Final = true }
func inPhase(name string) func(*verdict.Document) {
	return func(d *verdict.Document) { d.Phase = name }
}

// rollwatch runs a command line in process.
func rollwatch(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = execute(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestVerdictExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		lines []any
		args  []string
		want  int
	}{
		"promote":                     {[]any{says(verdict.Promote)}, nil, 0},
		"continue":                    {[]any{says(verdict.Continue)}, nil, 0},
		"rollback":                    {[]any{says(verdict.Rollback, final)}, nil, 1},
		"hold":                        {[]any{says(verdict.HoldOn)}, nil, 3},
		"stale":                       {[]any{503}, nil, 4},
		"superseded":                  {[]any{says(verdict.HoldOn, superseded)}, nil, 5},
		"dry run":                     {[]any{says(verdict.Rollback, dry, final)}, nil, 0},
		"unknown":                     {[]any{404}, nil, 2},
		"no token":                    {[]any{401}, nil, 2},
		"wait: promoted at last":      {[]any{says(verdict.Continue), says(verdict.HoldOn), says(verdict.Promote)}, []string{"--wait"}, 0},
		"wait: rolled back":           {[]any{says(verdict.Continue), says(verdict.Rollback, final)}, []string{"--wait"}, 1},
		"wait: superseded":            {[]any{says(verdict.Continue), says(verdict.HoldOn, superseded)}, []string{"--wait"}, 5},
		"wait: continue at deadline":  {[]any{says(verdict.Continue)}, []string{"--wait", "--timeout=50ms"}, 3},
		"wait: a final hold":          {[]any{says(verdict.HoldOn, final)}, []string{"--wait"}, 3},
		"wait: over a restart":        {[]any{503, 502, says(verdict.Promote)}, []string{"--wait"}, 0},
		"wait: stale at the deadline": {[]any{says(verdict.Continue), 503}, []string{"--wait", "--timeout=1500ms"}, 4},
		"wait: dry run":               {[]any{says(verdict.Continue, dry)}, []string{"--wait"}, 0},
		"wait: advance":               {[]any{says(verdict.HoldOn), says(verdict.Continue)}, []string{"--wait", "--until=advance"}, 0},
		"wait: in the phase":          {[]any{says(verdict.Continue)}, []string{"--wait", "--until=phase:0-5m", "--timeout=50ms"}, 3},
		"wait: the phase is over":     {[]any{says(verdict.Continue), says(verdict.Continue, inPhase("5-30m"))}, []string{"--wait", "--until=phase:0-5m"}, 0},
		"wait: the watch is over":     {[]any{says(verdict.Continue, inPhase(verdict.PhaseAfter))}, []string{"--wait", "--until=phase:30m-2h"}, 0},
		"wait: held in a later phase": {[]any{says(verdict.HoldOn, inPhase("5-30m"))}, []string{"--wait", "--until=phase:0-5m", "--timeout=50ms"}, 3},
		"wait: unknown":               {[]any{404}, []string{"--wait"}, 2},
		"wrong until":                 {[]any{says(verdict.Promote)}, []string{"--wait", "--until=forever"}, 2},
		"wrong phase":                 {[]any{says(verdict.Promote)}, []string{"--wait", "--until=phase:x"}, 2},
		"wrong timeout":               {[]any{says(verdict.Promote)}, []string{"--wait", "--timeout=0s"}, 2},
		"wrong output":                {[]any{says(verdict.Promote)}, []string{"-o", "yaml"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(&script{lines: c.lines})
			t.Cleanup(server.Close)
			code, stdout, stderr := rollwatch(t, append([]string{"verdict", "api", "--server", server.URL}, c.args...)...)
			require.Equal(t, c.want, code, "%s\n%s", stdout, stderr)
			if code == exitUsage || code == exitNoVerdict {
				require.NotEmpty(t, stderr)
			}
		})
	}
}

// What goes wrong beside the verdict must never look like a rollback to a
// pipeline that acts on exit code 1, nor hide one.
func TestVerdictExitCodesWhenTellingFails(t *testing.T) {
	for name, c := range map[string]struct {
		word   verdict.Word
		full   bool   // stdout
		github string // a file for outputs
		want   int
	}{
		"promote, no outputs for GitHub":  {verdict.Promote, false, "/nowhere/output", 0},
		"rollback, no outputs for GitHub": {verdict.Rollback, false, "/nowhere/output", exitRollback},
		"promote, stdout is full":         {verdict.Promote, true, "", exitNoVerdict},
		"rollback, stdout is full":        {verdict.Rollback, true, "", exitRollback},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GITHUB_OUTPUT", c.github)
			server := httptest.NewServer(&script{lines: []any{says(c.word, final)}})
			t.Cleanup(server.Close)
			out := io.Discard
			if c.full {
				full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
				require.NoError(t, err)
				defer full.Close()
				out = full
			}
			var errs strings.Builder
			require.Equal(t, c.want, execute(t.Context(), []string{"verdict", "api", "--server", server.URL}, out, &errs))
			require.NotEmpty(t, errs.String())
		})
	}
}

func TestAnInterruptedVerdictIsNoRollback(t *testing.T) {
	for _, args := range [][]string{{"--wait"}, {}} {
		asked := make(chan struct{}, 1)
		server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-r.Context().Done()
		}))
		t.Cleanup(server.Close)
		ctx, interrupt := context.WithCancel(t.Context())
		go func() { <-asked; interrupt() }()
		var errs strings.Builder
		code := execute(ctx, append([]string{"verdict", "api", "--server", server.URL}, args...), io.Discard, &errs)
		require.Equal(t, exitNoVerdict, code, errs.String())
	}
}

func TestVerdictOfAnUnreachableDaemon(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	code, _, stderr := rollwatch(t, "verdict", "api", "--server", server.URL)
	require.Equal(t, exitNoVerdict, code)
	require.Contains(t, stderr, "cannot reach rollwatch at "+server.URL)
	code, _, _ = rollwatch(t, "verdict", "api", "--server", server.URL, "--wait", "--timeout=50ms")
	require.Equal(t, exitNoVerdict, code)
}

func TestWhatAnswersIsNotRollwatch(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	t.Cleanup(server.Close)
	code, _, stderr := rollwatch(t, "verdict", "api", "--server", server.URL)
	require.Equal(t, exitNoVerdict, code)
	require.Contains(t, stderr, "what answers there is not rollwatch")
}

// A name is a service's first, and then the rollout that it led to is followed:
// a newer rollout of the service must not be waited for in its place.
func TestWaitingFollowsOneRollout(t *testing.T) {
	s := &script{lines: []any{404, says(verdict.Continue), says(verdict.Promote)}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	code, _, stderr := rollwatch(t, "verdict", "r-1", "--wait", "--server", server.URL)
	require.Zero(t, code, stderr)
	require.Equal(t, []string{
		"/api/v1/services/r-1/verdict", "/api/v1/rollouts/r-1/verdict", "/api/v1/rollouts/r-1/verdict?seq=1&wait=8s",
	}, s.paths)
	require.Contains(t, stderr, "watching: continue")
}

func TestVerdictForPeopleAndForGitHub(t *testing.T) {
	dir := t.TempDir()
	outputs, summary := filepath.Join(dir, "output"), filepath.Join(dir, "summary")
	t.Setenv("GITHUB_OUTPUT", outputs)
	t.Setenv("GITHUB_STEP_SUMMARY", summary)
	server := httptest.NewServer(&script{lines: []any{says(verdict.Rollback, final, func(d *verdict.Document) {
		d.Progress = "roll back: 5xx 4.1% > 1%\nverdict=promote"
		d.Reasons = []alerts.Finding{{
			Gate: "error_ratio", State: alerts.Firing, Mode: alerts.Enforce, Observed: new(0.041), Limit: new(0.01),
			Unit: "ratio", N: 812, Message: "4.1 % | of requests",
		}}
		d.Missing = []verdict.Missing{{Gate: "queue_failed", State: alerts.NoSeries, Since: time.Now()}}
		d.Action = &verdict.Action{
			Kind: "flag", Flag: "checkout-v2", Switch: "redis main: SET ff:checkout-v2 false",
			Alternatives: []verdict.Action{{Kind: "image", Image: "api:1", BlockedBy: []string{"schema"}}},
			Schema: []alerts.SchemaChange{
				{Database: "main", Breaks: true, Sentence: "the column email of users is gone"}, {Database: "main", Sentence: "the table notes is new"},
			},
			Notes: []string{"the flag old is no way back: it is off already"},
		}
	})}})
	t.Cleanup(server.Close)
	code, stdout, stderr := rollwatch(t, "verdict", "api", "--server", server.URL)
	require.Equal(t, exitRollback, code, stderr)
	require.Empty(t, stderr)
	require.Equal(t, `rollout   r-1: api 2.4.0, canary
verdict   rollback, final
progress  roll back: 5xx 4.1% > 1% verdict=promote
phase     0-5m, 0 %
reasons   error_ratio firing (enforce): 4.1 % | of requests
missing   queue_failed no_series
way back  turn off the flag checkout-v2, as redis main: SET ff:checkout-v2 false
          or deploy the image api:1 (blocked by schema)
schema    main: the column email of users is gone (the previous version may fail on it)
          main: the table notes is new
notes     the flag old is no way back: it is off already
`, stdout)
	got, err := os.ReadFile(outputs)
	require.NoError(t, err)
	require.Equal(t, "verdict=rollback\nrollout=r-1\nfinal=true\nok=false\ndry_run=false\nphase=0-5m\nprogress=roll back: 5xx 4.1% > 1% verdict=promote\n", string(got))
	got, err = os.ReadFile(summary)
	require.NoError(t, err)
	require.Contains(t, string(got), "### api 2.4.0: rollback, final")
	require.Contains(t, string(got), "\n- main: the column email of users is gone (the previous version may fail on it)\n")
	require.Contains(t, string(got), `| error_ratio | firing | 0.041 of 0.01 ratio | 812 | 4.1 % \| of requests |`)

	code, stdout, _ = rollwatch(t, "verdict", "api", "--server", server.URL, "-o", "json")
	require.Equal(t, exitRollback, code)
	require.True(t, json.Valid([]byte(stdout)))
}

func TestWaitingTellsEachVerdictAndOnceAMinuteHowFarItIs(t *testing.T) {
	watched := func(progress string, word verdict.Word) verdict.Document {
		return verdict.Document{Verdict: word, Progress: progress, Seq: 1}
	}
	w := &watcher{}
	require.True(t, w.isNews(watched("8s of 15m watched", verdict.Continue)), "the first")
	w.last, w.toldAt = &answer{document: watched("8s of 15m watched", verdict.Continue)}, time.Now()
	require.False(t, w.isNews(watched("16s of 15m watched", verdict.Continue)))
	require.True(t, w.isNews(watched("16s of 15m watched", verdict.HoldOn)))
	w.toldAt = time.Now().Add(-time.Minute)
	require.True(t, w.isNews(watched("1m8s of 15m watched", verdict.Continue)))
	require.False(t, w.isNews(watched("8s of 15m watched", verdict.Continue)), "nothing changed")
}
