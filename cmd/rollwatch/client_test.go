package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A recorder keeps the last request and answers with a rollout.
type recorder struct {
	request *http.Request
	body    map[string]any
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.request, r.body = request, nil
	text, _ := io.ReadAll(request.Body)
	_ = json.Unmarshal(text, &r.body)
	_, _ = w.Write([]byte(`{"id":"r-1","service":"api","version":"2.4.0","strategy":"canary","registered_at":"2026-11-23T04:12:00Z","notes":["the canary is not compared"],"baseline":{"id":"","kind":""}}`))
}

func TestRolloutCommandsSayWhatTheyAreTold(t *testing.T) {
	r := &recorder{}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("hunter2\n"), 0o600))

	code, stdout, stderr := rollwatch(t, "rollout", "start", "--server", server.URL, "--token-file", token, "--service=api", "--version=2.4.0",
		"--previous-version=2.3.0", "--strategy=canary", "--flag=a", "--flag=b", "--migration=prisma:x:data:undo.sql:now", "--label=run=7", "--started-at=2026-11-23T04:12:00Z")
	require.Zero(t, code, stderr)
	require.Equal(t, "r-1\n", stdout, "what is not the id is not where a script looks for it")
	require.Equal(t, "note: the canary is not compared\n", stderr)
	require.Equal(t, "POST /api/v1/rollouts", r.request.Method+" "+r.request.URL.Path)
	require.Equal(t, "Bearer hunter2", r.request.Header.Get("Authorization"))
	require.NotEmpty(t, r.request.Header.Get("Idempotency-Key"))
	require.Equal(t, map[string]any{
		"service": "api", "version": "2.4.0", "previous_version": "2.3.0", "strategy": "canary", "kind": "deploy",
		"started_at": "2026-11-23T04:12:00Z", "feature_flags": []any{"a", "b"}, "labels": map[string]any{"run": "7"},
		"migrations": []any{map[string]any{"tool": "prisma", "name": "x", "kind": "data", "reverse": "undo.sql:now"}},
	}, r.body)

	code, _, stderr = rollwatch(t, "rollout", "stage", "r/1", "--server", server.URL, "--weight=0")
	require.Zero(t, code, stderr)
	require.Equal(t, "PATCH /api/v1/rollouts/r%2F1", r.request.Method+" "+r.request.URL.EscapedPath())
	require.Equal(t, map[string]any{"weight": 0.0}, r.body)

	code, _, stderr = rollwatch(t, "rollout", "finish", "r-1", "--server", server.URL, "--outcome=rolled_back")
	require.Zero(t, code, stderr)
	require.Equal(t, map[string]any{"outcome": "rolled_back"}, r.body)

	code, stdout, stderr = rollwatch(t, "rollout", "override", "r-1", "--server", server.URL, "--verdict=continue", "--reason=load test", "-o", "json")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `"id": "r-1"`)
	require.Contains(t, r.body, "until")
}

func TestUsageErrorsNameWhatIsWanted(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no version":         {[]string{"rollout", "start", "--service=api"}, "rollwatch: rollwatch rollout start wants --service and --version\n"},
		"unknown strategy":   {[]string{"rollout", "start", "--strategy=big-bang"}, `rollwatch: invalid argument "big-bang" for "--strategy" flag: it is one of rolling, blue-green, canary; see rollwatch rollout start --help` + "\n"},
		"half a migration":   {[]string{"rollout", "start", "--service=a", "--version=b", "--migration=prisma"}, `rollwatch: --migration: "prisma" is not TOOL:NAME:KIND[:REVERSE], as prisma:20261123_orders:additive` + "\n"},
		"the year 1":         {[]string{"rollout", "start", "--service=a", "--version=b", "--started-at=0001-01-01T00:00:00Z"}, `rollwatch: --started-at: "0001-01-01T00:00:00Z" is the first moment of the year 1; say when it was, or leave it out` + "\n"},
		"no time":            {[]string{"rollout", "start", "--service=a", "--version=b", "--started-at=now"}, `rollwatch: --started-at: "now" is not a time; write it as 2026-11-23T04:12:00Z` + "\n"},
		"nothing to record":  {[]string{"rollout", "stage", "r-1"}, "rollwatch: rollwatch rollout stage wants --weight or --note\n"},
		"no outcome":         {[]string{"rollout", "finish", "r-1"}, "rollwatch: rollwatch rollout finish wants --outcome=promoted|rolled_back|aborted\n"},
		"no rollout":         {[]string{"rollout", "show"}, "rollwatch: rollwatch rollout show wants ROLLOUT; see rollwatch rollout show --help\n"},
		"no reason":          {[]string{"rollout", "override", "r-1", "--verdict=hold"}, "rollwatch: rollwatch rollout override wants --verdict and --reason\n"},
		"unknown command":    {[]string{"verdic"}, "rollwatch: rollwatch has no command \"verdic\"; did you mean verdict?\n"},
		"unknown subcommand": {[]string{"config", "chek"}, "rollwatch: rollwatch config has no command \"chek\"; did you mean check?\n"},
		"no subcommand":      {[]string{"config"}, "rollwatch: rollwatch config needs one of its commands; see rollwatch config --help\n"},
		"no server":          {[]string{"healthcheck", "--server=localhost:9876"}, "rollwatch: --server is not an address; write it as http://127.0.0.1:9876\n"},
		"no token file":      {[]string{"healthcheck", "--token-file=/nonexistent"}, "rollwatch: --token-file: read secret: open /nonexistent: no such file or directory\n"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := rollwatch(t, c.args...)
			require.Equal(t, exitUsage, code)
			require.Equal(t, c.want, stderr)
		})
	}
}

func TestATokenFollowsNoRedirect(t *testing.T) {
	var leaked bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked = true }))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	code, _, stderr := rollwatch(t, "rollout", "show", "r-1", "--server", server.URL)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "the server answered 307 Temporary Redirect")
	require.False(t, leaked)
}
