package api

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
)

func up(kind, name string, required bool) collector.Status {
	now := time.Now()
	return collector.Status{
		Kind: kind, Name: name, Required: required, Interval: 15 * time.Second,
		Up: true, Started: now, LastSuccess: now, Duration: 1500 * time.Microsecond,
	}
}

func down(kind, name string, required bool, err error) collector.Status {
	s := up(kind, name, required)
	s.Up, s.Err, s.LastSuccess = false, err, time.Time{}
	return s
}

type healthBody struct {
	Status               string
	Info, Error, Details map[string]map[string]any
}

func TestHealth(t *testing.T) {
	refused := errors.New("connection refused")
	ill := up("bullmq", "jobs", true)
	ill.Reading.Ill = "queue mail has 140 failed jobs (limit 100)"
	lazy := ill
	lazy.Required = false
	old := up("postgres", "main", true)
	old.LastSuccess = time.Now().Add(-time.Hour)
	evicts := up("bullmq", "jobs", true)
	evicts.Reading.Warning = "the eviction policy of its Redis is allkeys-lru"
	unread := collector.Status{Kind: "redis", Name: "main", Required: true, Interval: 15 * time.Second}

	tests := []struct {
		name                  string
		targets               []collector.Status
		health, ready         int
		downKey, says, status string // and the status in application/health+json
	}{
		{"nothing configured", nil, 200, 200, "", "", "pass"},
		{"all well", []collector.Status{up("postgres", "main", true), up("redis", "main", true)}, 200, 200, "", "", "pass"},
		{"the database is down", []collector.Status{down("postgres", "main", true, refused)}, 503, 503, "postgres:main", "connection refused", "fail"},
		{"a replica is down", []collector.Status{down("postgres", "replica", false, refused)}, 200, 200, "postgres:replica", "connection refused", "warn"},
		{"a service is down", []collector.Status{up("redis", "main", true), down("http", "api", true, refused)}, 503, 200, "http:api", "connection refused", "fail"},
		{"queues with failed jobs", []collector.Status{ill}, 503, 200, "bullmq:jobs", "140 failed jobs", "fail"},
		{"the same, not required", []collector.Status{lazy}, 200, 200, "bullmq:jobs", "140 failed jobs", "warn"},
		{"not read for an hour", []collector.Status{old}, 503, 503, "postgres:main", "last read 1h0m", "fail"},
		{"not read yet", []collector.Status{unread}, 503, 503, "redis:main", "not read yet", "fail"},
		{"queues on a Redis that evicts", []collector.Status{evicts}, 200, 200, "", "", "warn"},
		{"down for no known reason", []collector.Status{down("redis", "main", true, nil)}, 503, 503, "redis:main", "could not be read", "fail"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.targets = test.targets
			require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/health/live", "").Code, "this process lives")
			require.Equal(t, test.ready, w.do(http.MethodGet, "/health/ready", "").Code)

			answer := w.do(http.MethodGet, "/health", "")
			require.Equal(t, test.health, answer.Code)
			body := decodeAs[healthBody](t, answer)
			require.Equal(t, map[bool]string{true: "ok", false: "error"}[test.health == 200], body.Status)
			require.Len(t, body.Details, len(test.targets))
			require.Len(t, body.Info, len(test.targets)-len(body.Error))
			if test.downKey != "" {
				require.Equal(t, "down", body.Error[test.downKey]["status"])
				require.Contains(t, body.Error[test.downKey]["message"], test.says)
			} else {
				require.Empty(t, body.Error)
			}

			r := request(http.MethodGet, "/health", "")
			r.Header.Set("Accept", "application/health+json")
			answer = w.send(r)
			require.Equal(t, test.health, answer.Code)
			require.Equal(t, "application/health+json", answer.Header().Get("Content-Type"))
			require.Equal(t, test.status, decodeAs[map[string]any](t, answer)["status"])
		})
	}
}

func TestHealthShowsTheDetailsOfATarget(t *testing.T) {
	w := newWorld(t)
	target := up("postgres", "main", true)
	target.Reading = probe.Reading{Details: map[string]any{"version": "18.1", "role": "primary", "status": "a detail may not speak for us"}}
	w.targets = []collector.Status{target}
	for range 2 { // the details belong to the reading, which others see too
		entry := decodeAs[healthBody](t, w.do(http.MethodGet, "/health", "")).Info["postgres:main"]
		require.Equal(t, "primary", entry["role"])
		require.Equal(t, "up", entry["status"])
		require.Equal(t, true, entry["required"])
		require.InDelta(t, 1.5, entry["responseTime"], 0, "milliseconds")
	}
	require.NotContains(t, target.Reading.Details, "required")
}

func TestHealthTellsWhatShouldBeChangedOfATargetThatIsUp(t *testing.T) {
	w := newWorld(t)
	const warning = "the eviction policy of its Redis is allkeys-lru"
	target := up("bullmq", "jobs", true)
	target.Reading.Warning = warning
	w.targets = []collector.Status{target}
	entry := decodeAs[healthBody](t, w.do(http.MethodGet, "/health", "")).Info["bullmq:jobs"]
	require.Equal(t, warning, entry["warning"])
	require.Equal(t, "up", entry["status"])
	r := request(http.MethodGet, "/health", "")
	r.Header.Set("Accept", "application/health+json")
	checks := decodeAs[map[string]any](t, w.send(r))["checks"].(map[string]any)["bullmq:jobs"].([]any)
	require.Equal(t, "warn", checks[0].(map[string]any)["status"], "required and up: no failure")
	require.Equal(t, warning, checks[0].(map[string]any)["output"])
}

func TestHealthByAccept(t *testing.T) {
	w := newWorld(t)
	for accept, want := range map[string]string{
		"":                        "application/json",
		"*/*":                     "application/json",
		"text/html":               "application/json",
		"application/json":        "application/json",
		"application/health+json": "application/health+json",
		"application/health+json, application/json;q=0.5": "application/health+json",
		"application/json, application/health+json;q=0.5": "application/json",
	} {
		r := request(http.MethodGet, "/health", "")
		r.Header.Set("Accept", accept)
		require.Equal(t, want, w.send(r).Header().Get("Content-Type"), accept)
	}
}

// What the daemon cannot do is no fault of what it watches, but is said where people look.
func TestADaemonThatCannotRecordSaysSoAndAnswersOn(t *testing.T) {
	w := newWorld(t)
	w.targets = []collector.Status{up("redis", "main", true)}
	w.degraded = map[string]string{"judge": "", "window": ""}
	require.Len(t, decodeAs[healthBody](t, w.do(http.MethodGet, "/health", "")).Details, 1)
	require.JSONEq(t, `{"status":"ready"}`, w.do(http.MethodGet, "/-/ready", "").Body.String())

	w.degraded["judge"] = "ledger data/ledger.db: the disk is full: make room"
	answer := w.do(http.MethodGet, "/health", "")
	require.Equal(t, http.StatusOK, answer.Code, "every target is well")
	body := decodeAs[healthBody](t, answer)
	require.Equal(t, "ok", body.Status)
	require.Equal(t, "down", body.Error["rollwatch:judge"]["status"])
	require.Equal(t, w.degraded["judge"], body.Error["rollwatch:judge"]["message"])
	require.NotContains(t, body.Details, "rollwatch:window")
	require.NotContains(t, decodeAs[healthBody](t, w.do(http.MethodGet, "/health/ready", "")).Details, "rollwatch:judge", "which speaks of databases only")
	r := request(http.MethodGet, "/health", "")
	r.Header.Set("Accept", mediaHealthJSON)
	require.Contains(t, w.send(r).Body.String(), `"status":"warn"`)

	answer = w.do(http.MethodGet, "/-/ready", "")
	require.Equal(t, http.StatusOK, answer.Code, "a latched rollback must be answered")
	require.JSONEq(t, `{"status":"ready","degraded":{"judge":"ledger data/ledger.db: the disk is full: make room"}}`, answer.Body.String())
}

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.targets = []collector.Status{up("redis", "main", true), {Kind: "postgres", Name: "main"}}
		answer := w.do(http.MethodGet, "/-/ready", "")
		require.Equal(t, http.StatusServiceUnavailable, answer.Code, "PostgreSQL was not read yet")
		require.Equal(t, verdict.Unavailable, refusal(t, answer).Code)

		w.targets[1] = down("postgres", "main", true, errors.New("connection refused"))
		require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/-/ready", "").Code, "a target that is down was read, and the daemon can say so")

		w.targets = append(w.targets, collector.Status{Kind: "http", Name: "new"})
		require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/-/ready", "").Code, "a target that comes with a reload does not undo it")

		w.handler.Drain()
		require.Equal(t, http.StatusServiceUnavailable, w.do(http.MethodGet, "/-/ready", "").Code)
		require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/-/healthy", "").Code)
	})
}
