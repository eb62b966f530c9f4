package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes"
	"github.com/rollwatch/rollwatch/verdict"
)

// A running is a daemon that runs within a test.
type running struct {
	*app
	url  string
	logs *observer.ObservedLogs
	file string // its configuration, empty for the environment alone
}

// runFile runs the daemon on a configuration file.
func runFile(t *testing.T, text string) *running {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rollwatch.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return runLoader(t, configLoader{file: file, lookup: environment(map[string]string{"DATA": t.TempDir()})})
}

// runLoader runs the daemon and ends it with the test, which fails if it does
// not end well.
func runLoader(t *testing.T, loader configLoader) *running {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	a, err := newApp(t.Context(), appOptions{loader: loader, listen: []string{"127.0.0.1:0"}, log: zap.New(core)})
	require.NoError(t, err)
	a.start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		require.NoError(t, a.stop(ctx))
		select {
		case err := <-a.broken:
			t.Errorf("the daemon broke: %v", err)
		default:
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return &running{app: a, url: "http://" + a.server.Addrs()[0].String(), logs: logs, file: loader.file}
}

// get asks the daemon and returns status and body.
func (r *running) get(t *testing.T, path string) (int, string) {
	t.Helper()
	return r.send(t, http.MethodGet, path, nil)
}

func (r *running) send(t *testing.T, method, path string, body any) (int, string) {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, bytes.NewReader(text))
	require.NoError(t, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(answer)
}

// eventually waits for something that the daemon does by itself.
func eventually(t *testing.T, what string, limit time.Duration, is func() bool) {
	t.Helper()
	require.Eventually(t, is, limit, 20*time.Millisecond, what)
}

// ready waits until every target was read once.
func (r *running) ready(t *testing.T) {
	t.Helper()
	eventually(t, "not ready", 20*time.Second, func() bool {
		status, _ := r.get(t, "/-/ready")
		return status == http.StatusOK
	})
}

// value is the value of one series of /metrics.
func (r *running) value(t *testing.T, series string) string {
	t.Helper()
	_, metrics := r.get(t, "/metrics")
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(metrics)
	if found == nil {
		return "none"
	}
	return found[1]
}

// established are names of the exporters that people have, which promlint would
// not give today: each says so in its Note.
var established = func() (names []string) {
	for _, kind := range probes.Kinds {
		for _, m := range kind.Metrics {
			if m.Note != "" {
				names = append(names, m.Name)
			}
		}
	}
	return names
}()

func TestTheEnvironmentAloneWatchesTheWholeStack(t *testing.T) {
	t.Parallel()
	pg, redis := live.Postgres(t), live.Redis(t, "--maxmemory-policy", "noeviction")
	_ = pg.Standby(t)
	for _, major := range []int{5, 6} {
		queue := live.Node(t, major).Queue(t, redis.URL, "", fmt.Sprintf("jobs%d", major))
		queue.AddMany(t, 3+major, nil)
	}
	tasks := asynq.NewClient(asynq.RedisClientOpt{Addr: redis.Addr})
	t.Cleanup(func() { require.NoError(t, tasks.Close()) })
	_, err := tasks.Enqueue(asynq.NewTask("mail", nil), asynq.Queue("mail"))
	require.NoError(t, err)

	r := runLoader(t, configLoader{lookup: environment(map[string]string{
		"DATABASE_URL": pg.URL, "REDIS_URL": redis.URL, "ROLLWATCH_DATA_DIR": t.TempDir(),
	})})
	r.ready(t)
	wanted := []string{
		`bullmq_job_count{queue="jobs5",state="waiting",target="bullmq"} 8`,
		`bullmq_job_count{queue="jobs6",state="waiting",target="bullmq"} 9`,
		`asynq_queue_size{queue="mail",target="asynq"} 1`,
		`pg_up{target="main"} 1`, `redis_up{target="main"} 1`,
		`rollwatch_probe_up{kind="postgres",target="main"} 1`,
		`rollwatch_config_last_reload_successful 1`,
	}
	// What is discovered is there at the second reading at the latest.
	var metrics string
	require.Eventually(t, func() bool {
		_, metrics = r.get(t, "/metrics")
		return !slices.ContainsFunc(wanted, func(want string) bool { return !strings.Contains(metrics, want+"\n") })
	}, 40*time.Second, 100*time.Millisecond)
	for _, family := range []string{"pg_stat_activity_count{", "pg_stat_replication_", "rollwatch_build_info{", "rollwatch_probe_duration_seconds{"} {
		require.Contains(t, metrics, "\n"+family)
	}
	problems, err := promlint.New(strings.NewReader(metrics)).Lint()
	require.NoError(t, err)
	for _, problem := range problems {
		require.Contains(t, established, problem.Metric, problem.Text)
	}

	// One session and one connection for all of it.
	conn, err := pgx.Connect(t.Context(), pg.URL)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	require.Eventually(t, func() bool { // the survey once a minute has one of its own
		var sessions int
		require.NoError(t, conn.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = 'rollwatch'").Scan(&sessions))
		return sessions == 1
	}, 10*time.Second, 50*time.Millisecond)
	clients, _ := redis.Do(t, "CLIENT", "LIST").(string)
	require.Equal(t, 1, strings.Count(clients, "name=rollwatch "))

	status, health := r.get(t, "/health")
	require.Equal(t, http.StatusOK, status, health)
	status, health = r.get(t, "/health/ready")
	require.Equal(t, http.StatusOK, status, health)
}

func TestATargetThatHangsCostsItsOwnReadingOnly(t *testing.T) {
	t.Parallel()
	pg, well := live.Postgres(t), live.Redis(t)
	r := runFile(t, fmt.Sprintf(`
interval: 1s
timeout: 500ms
data_dir: ${DATA}
postgres: [{name: main, url: %q}]
redis:
  - {name: hangs, url: "redis://%s/0"}
  - {name: well, url: %q}
queues: [{name: stuck, kind: bullmq, redis: hangs}]
`, pg.URL, live.Hang(t), well.URL))
	r.ready(t)
	eventually(t, "PostgreSQL is not up", 10*time.Second, func() bool {
		return r.value(t, `rollwatch_probe_up{kind="postgres",target="main"}`) == "1"
	})
	pg.Freeze(t)
	eventually(t, "a frozen PostgreSQL is still up", 10*time.Second, func() bool {
		return r.value(t, `rollwatch_probe_up{kind="postgres",target="main"}`) == "0"
	})
	var slowest time.Duration
	for range 20 {
		began := time.Now()
		_, metrics := r.get(t, "/metrics")
		slowest = max(slowest, time.Since(began))
		require.Contains(t, metrics, `rollwatch_probe_up{kind="redis",target="hangs"} 0`)
		require.Contains(t, metrics, `rollwatch_probe_up{kind="bullmq",target="stuck"} 0`)
		require.Contains(t, metrics, `rollwatch_probe_up{kind="redis",target="well"} 1`)
	}
	t.Logf("slowest of 20 answers of /metrics beside a frozen PostgreSQL and a Redis that hangs: %s", slowest)
	require.Less(t, slowest, time.Second)
	fresh := r.value(t, `rollwatch_probe_last_success_timestamp_seconds{kind="redis",target="well"}`)
	eventually(t, "the other target is not read any more", 5*time.Second, func() bool {
		return r.value(t, `rollwatch_probe_last_success_timestamp_seconds{kind="redis",target="well"}`) != fresh
	})
	status, health := r.get(t, "/health")
	require.Equal(t, http.StatusServiceUnavailable, status, health)
	pg.Thaw(t)
}

// The end: whoever waits is answered, and nothing that hangs can hold it up.
func TestTheDaemonEndsInTime(t *testing.T) {
	t.Parallel()
	r := runFile(t, fmt.Sprintf(`
interval: 1s
data_dir: ${DATA}
redis: [{name: hangs, url: "redis://%s/0"}]
services: [{name: api, health: {url: "http://%s/health"}}]
`, live.Hang(t), live.Hang(t)))
	status, answer := r.send(t, http.MethodPost, "/api/v1/rollouts", map[string]string{"service": "api", "version": "1", "strategy": "rolling"})
	require.Equal(t, http.StatusCreated, status, answer)
	var rollout struct{ ID string }
	require.NoError(t, json.Unmarshal([]byte(answer), &rollout))
	resp, err := http.Get(r.url + "/api/v1/rollouts/" + rollout.ID + "/events")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	began := time.Now()
	require.NoError(t, r.stop(ctx))
	t.Logf("ended in %s", time.Since(began))
	require.Less(t, time.Since(began), stopTimeout)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err, "the stream was broken off")
}

func TestAReloadIsAppliedOrRefusedWhole(t *testing.T) {
	t.Parallel()
	one, two := live.Redis(t), live.Redis(t)
	text := fmt.Sprintf("interval: 1s\ndata_dir: ${DATA}\nredis: [{name: one, url: %q}]\nservices: [{name: api, health: {url: \"http://127.0.0.1:1/health\"}}]\n", one.URL)
	r := runFile(t, text)
	r.ready(t)
	status, answer := r.send(t, http.MethodPost, "/api/v1/rollouts", map[string]string{"service": "api", "version": "1", "strategy": "rolling"})
	require.Equal(t, http.StatusCreated, status, answer)

	rewrite := func(text string) { require.NoError(t, os.WriteFile(r.file, []byte(text), 0o600)) }
	rewrite(strings.Replace(text, "interval: 1s", "intervall: 1s", 1))
	status, answer = r.send(t, http.MethodPost, "/-/reload", nil)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, answer, `did you mean \"interval\"?`)
	require.Equal(t, "0", r.value(t, "rollwatch_config_last_reload_successful"))
	require.Equal(t, "1", r.value(t, `rollwatch_probe_up{kind="redis",target="one"}`))

	rewrite(strings.Replace(text, "${DATA}", "/elsewhere", 1))
	_, answer = r.send(t, http.MethodPost, "/-/reload", nil)
	require.Contains(t, answer, "which needs a restart")

	rewrite(strings.Replace(text, "redis: [", fmt.Sprintf("redis: [{name: two, url: %q},", two.URL), 1))
	status, answer = r.send(t, http.MethodPost, "/-/reload", nil)
	require.Equal(t, http.StatusOK, status, answer)
	require.Equal(t, "1", r.value(t, "rollwatch_config_last_reload_successful"))
	eventually(t, "the new target is not read", 10*time.Second, func() bool {
		return r.value(t, `rollwatch_probe_up{kind="redis",target="two"}`) == "1"
	})
	// The rollout is still under watch, and the connections of before are gone.
	eventually(t, "the rollout is not judged any more", 10*time.Second, func() bool {
		status, answer = r.get(t, "/api/v1/services/api/verdict")
		return status == http.StatusOK
	})
	clients, _ := one.Do(t, "CLIENT", "LIST").(string)
	require.Equal(t, 1, strings.Count(clients, "name=rollwatch "))
}

// Reloads that come close together: each is applied or told that another one is
// under way, and nothing breaks.
func TestManyReloadsAtOnce(t *testing.T) {
	t.Parallel()
	redis := live.Redis(t)
	r := runFile(t, fmt.Sprintf("interval: 1s\ndata_dir: ${DATA}\nredis: [{name: one, url: %q}]\n", redis.URL))
	r.ready(t)
	for range 5 {
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				resp, err := http.Post(r.url+"/-/reload", "", nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				assert.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, resp.StatusCode)
			})
		}
		all.Wait()
	}
	for range 20 { // and one that follows at once
		require.NoError(t, r.reload(t.Context()))
	}
	r.ready(t)
}

// /metrics is answered while the engine is being changed.
func TestMetricsDoNotWaitForAReload(t *testing.T) {
	t.Parallel()
	r := runFile(t, fmt.Sprintf("interval: 1s\ndata_dir: ${DATA}\nredis: [{name: one, url: \"redis://%s/0\"}]\n", live.Hang(t)))
	require.NoError(t, r.judge.succeed(func() (*verdict.Engine, error) {
		status, _ := r.get(t, "/metrics")
		require.Equal(t, http.StatusOK, status)
		return r.judge.now(), nil
	}))
}

// A reload that hangs, and a part that does not end, must not hold up the end.
func TestTheEndWaitsForNothingThatHangs(t *testing.T) {
	t.Parallel()
	a := &app{busy: newTurn(), reloading: newTurn()}
	a.opts.loader = configLoader{lookup: environment(map[string]string{"REDIS_URL": "redis://127.0.0.1:1"})}
	hangs := make(chan struct{})
	defer close(hangs)
	a.onStop("hang", func(context.Context) error { <-hangs; return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, a.stop(ctx), "hang: context deadline exceeded")

	require.True(t, a.busy.tryTake())
	require.ErrorIs(t, a.stop(ctx), context.DeadlineExceeded)
	a.busy.give()
	require.ErrorIs(t, a.reload(t.Context()), errEnding)
}

// The contract file and the one of the compose stack run as they stand.
func TestTheFilesThatAreHandedOutRun(t *testing.T) {
	t.Parallel()
	pg, redis, shop := live.Postgres(t), live.Redis(t), openShop(t)
	for _, file := range []string{contractFile, "../../deploy/rollwatch.yml"} {
		r := runLoader(t, configLoader{file: file, lookup: environment(map[string]string{
			"DATABASE_URL": pg.URL, "REDIS_URL": redis.URL, "ROLLWATCH_DATA_DIR": t.TempDir(), "API_URL": shop.URL,
			"API_HEALTH_URL": shop.URL + "/health", "API_METRICS_URL": shop.URL + "/metrics",
		})})
		r.ready(t)
		status, health := r.get(t, "/health")
		require.Equal(t, http.StatusOK, status, health)
	}
}
