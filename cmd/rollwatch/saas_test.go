package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/verdict"
)

// A saas is the stack that rollwatch stands beside, for real: a NestJS service
// behind its load balancer, under steady traffic, on PostgreSQL.
type saas struct {
	balancer *httptest.Server
	instance atomic.Pointer[live.Nest]
	postgres *live.PG
	admin    *pgx.Conn
}

const saasSchema = `
CREATE TABLE companies (id int PRIMARY KEY, slug text NOT NULL UNIQUE);
CREATE TABLE workspaces (id int PRIMARY KEY, company_id int NOT NULL REFERENCES companies);
CREATE TABLE domains (id serial PRIMARY KEY, workspace_id int NOT NULL REFERENCES workspaces, company_id int NOT NULL REFERENCES companies);
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL, nickname text);
INSERT INTO companies VALUES (1, 'acme'), (2, 'globex');
INSERT INTO workspaces VALUES (10, 1), (20, 2);
INSERT INTO users VALUES (1, 'Ada', 'a'), (2, 'Grace', NULL)`

// openSaaS runs version 1.
func openSaaS(t *testing.T) *saas {
	t.Helper()
	s := &saas{postgres: live.Postgres(t)}
	var err error
	s.admin, err = pgx.Connect(t.Context(), s.postgres.URL)
	require.NoError(t, err)
	t.Cleanup(func() { s.admin.Close(context.Background()) })
	s.exec(t, saasSchema)
	s.balancer = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			to, _ := url.Parse(s.instance.Load().URL)
			r.SetURL(to)
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	})
	t.Cleanup(s.balancer.Close)
	s.deploy(t, "1")
	s.serveTraffic(t)
	return s
}

func (s *saas) exec(t *testing.T, sql string) {
	t.Helper()
	_, err := s.admin.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// deploy starts an instance of a version, and lets the balancer use no other.
func (s *saas) deploy(t *testing.T, version string, faults ...string) {
	t.Helper()
	next := live.NestJS(t, live.Release{Version: version, Database: s.postgres.URL, Faults: faults})
	s.instance.Store(next)
}

// serveTraffic uses the service as its tenants do, a hundred times a second, until
// the test ends.
func (s *saas) serveTraffic(t *testing.T) {
	t.Helper()
	stop := make(chan struct{})
	var users sync.WaitGroup
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	paths := []string{"GET /users", "GET /users", "GET /report", "GET /features/login?tenant=acme", "POST /domains?tenant=acme"}
	for i := range 4 {
		users.Go(func() {
			tick := time.NewTicker(40 * time.Millisecond)
			defer tick.Stop()
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				method, path, _ := strings.Cut(paths[n%len(paths)], " ")
				request, _ := http.NewRequestWithContext(context.Background(), method, s.balancer.URL+path, http.NoBody)
				if response, err := client.Do(request); err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
			}
		})
	}
	t.Cleanup(func() { close(stop); users.Wait(); client.CloseIdleConnections() })
}

// watch runs rollwatch beside the service until it has a baseline.
func (s *saas) watch(t *testing.T) *running {
	t.Helper()
	r := runFile(t, fmt.Sprintf(`
interval: 1s
data_dir: ${DATA}
postgres:
  - name: main
    url: %[2]q
    integrity:
      - name: domains_of_another_company
        query: select d.id from domains d join workspaces w on w.id = d.workspace_id where d.company_id <> w.company_id limit 20
        interval: 10s
services:
  - name: api
    version_label: version
    health: {url: "%[1]s/health"}
    metrics: {scrape: [{url: "%[1]s/metrics"}], preset: prom-client}
    databases: [main]
    features:
      - {name: login, interval: 1s, http: {url: "%[1]s/features/login?tenant={{.tenant}}", expect: {status: 200, json: {ok: true}}}, tenants: {postgres: main, query: select slug from companies}}
judge: {grace: 5s, watch: {blue_green: 1m, after: 1m}}
gates: {error_ratio: {for: 10s}}
`, s.balancer.URL, s.postgres.URL))
	r.ready(t)
	eventually(t, "no healthy reading of every signal", 30*time.Second, func() bool {
		return r.value(t, `pg_invariant_violations{invariant="domains_of_another_company",target="main"}`) == "0" &&
			r.value(t, `rollwatch_feature_up{target="api/login",tenant="globex"}`) == "1"
	})
	<-time.After(5 * time.Second) // of healthy traffic: the baseline
	return r
}

// start registers a rollout.
func (s *saas) start(t *testing.T, r *running, registration verdict.Registration) {
	t.Helper()
	registration.Service, registration.Strategy = "api", alerts.BlueGreen
	status, answer := r.send(t, http.MethodPost, "/api/v1/rollouts", registration)
	require.Equal(t, http.StatusCreated, status, answer)
}

// rolledBack waits for the verdict, and returns why.
func (s *saas) rolledBack(t *testing.T, r *running) (verdict.Document, alerts.Finding) {
	t.Helper()
	var doc verdict.Document
	eventually(t, "no rollback", 50*time.Second, func() bool {
		status, text := r.get(t, "/api/v1/services/api/verdict")
		return status == http.StatusOK && json.Unmarshal([]byte(text), &doc) == nil && doc.Final
	})
	require.Equal(t, verdict.Rollback, doc.Verdict, doc.Progress)
	return doc, doc.Reasons[0]
}

func TestAMigrationThatDropsAColumnOfTheOldVersion(t *testing.T) {
	t.Parallel()
	s := openSaaS(t)
	r := s.watch(t)
	s.start(t, r, verdict.Registration{Version: "2", PreviousVersion: "1", PreviousImage: "api:1", Migrations: []verdict.Migration{
		{Tool: "prisma", Name: "20261127_drop_nickname", Kind: verdict.Additive, Reverse: "db/undo/20261127.sql"},
	}})
	s.exec(t, "ALTER TABLE users DROP COLUMN nickname")
	s.deploy(t, "2")
	doc, why := s.rolledBack(t, r)
	require.Equal(t, "error_ratio", why.Gate, doc.Progress)
	require.Equal(t, "2", why.Scope["version"])
	require.InDelta(t, 0.2, *why.Observed, 0.1, "one of five requests is for the report")
	require.Equal(t, "image", doc.Action.Kind)
	require.Equal(t, []string{"schema"}, doc.Action.BlockedBy, "the old version needs the column as well, whatever was declared")
	require.Len(t, doc.Action.Schema, 1)
	require.Equal(t, "the column nickname of users is gone", doc.Action.Schema[0].Sentence)
	require.Equal(t, []string{"db/undo/20261127.sql"}, doc.Action.Reverse)
}

func TestATenantWhoseLoginFails(t *testing.T) {
	t.Parallel()
	s := openSaaS(t)
	r := s.watch(t)
	s.start(t, r, verdict.Registration{Version: "3", PreviousVersion: "1", PreviousImage: "api:1", FeatureFlags: []string{"new-login"}})
	s.deploy(t, "3", "login:globex") // whom nobody else in the traffic belongs to
	doc, why := s.rolledBack(t, r)
	require.Equal(t, "critical_feature", why.Gate, doc.Progress)
	require.Contains(t, doc.Progress, "globex")
	require.NotContains(t, doc.Progress, "acme")
	require.Equal(t, "flag", doc.Action.Kind, "the way back that costs least")
	require.Equal(t, "new-login", doc.Action.Flag)
}

func TestARowWrittenAcrossTenants(t *testing.T) {
	t.Parallel()
	s := openSaaS(t)
	r := s.watch(t)
	s.start(t, r, verdict.Registration{Version: "4", PreviousVersion: "1", PreviousImage: "api:1", Commit: "4f2a"})
	s.deploy(t, "4", "cross-tenant") // which answers each request with a 2xx
	doc, why := s.rolledBack(t, r)
	require.Equal(t, "data_corruption", why.Gate, doc.Progress)
	require.Contains(t, doc.Progress, "domains_of_another_company")
	require.Equal(t, "image", doc.Action.Kind)
	require.Empty(t, doc.Action.BlockedBy)
}
