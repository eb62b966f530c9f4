package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/verdict"
)

// BullMQ's own workers, of which one of the new version takes twice as long for a
// job as the two of the old one beside it.
func TestWorkersThatCompleteJobsAtHalfTheSpeed(t *testing.T) {
	t.Parallel()
	const takes, atOnce = 200 * time.Millisecond, 12 // long beside what a machine under load adds
	redis := live.Redis(t)
	queue := live.Node(t, 5).Queue(t, redis.URL, "bull", "mail")
	for range 20 {
		queue.AddMany(t, 2000, nil) // more than the test lasts for
	}
	for _, name := range []any{"v1-a", "v1-b"} {
		queue.WorkerAt(t, takes, live.Options{"name": name, "concurrency": atOnce})
	}
	r := runFile(t, fmt.Sprintf(`
interval: 1s
data_dir: ${DATA}
redis: [{name: main, url: %q}]
queues: [{name: jobs, kind: bullmq, redis: main, worker_tracks: {canary: '^v2-'}}]
services: [{name: worker, queues: [jobs]}]
judge: {grace: 5s, watch: {canary: 5m, after: 5m}}
`, redis.URL))
	r.ready(t)
	eventually(t, "no job is credited to stable", 30*time.Second, func() bool {
		return r.value(t, `bullmq_queue_track_workers{queue="mail",target="jobs",track="stable"}`) == "2"
	})
	<-time.After(20 * time.Second) // how evenly jobs come

	status, answer := r.send(t, http.MethodPost, "/api/v1/rollouts", verdict.Registration{
		Service: "worker", Version: "2", PreviousVersion: "1", PreviousImage: "worker:1", Strategy: alerts.Canary,
	})
	require.Equal(t, http.StatusCreated, status, answer)
	queue.WorkerAt(t, 2*takes, live.Options{"name": "v2-a", "concurrency": atOnce})

	var doc verdict.Document
	eventually(t, "no rollback", 4*time.Minute, func() bool {
		status, text := r.get(t, "/api/v1/services/worker/verdict")
		return status == http.StatusOK && json.Unmarshal([]byte(text), &doc) == nil && doc.Final
	})
	require.Equal(t, verdict.Rollback, doc.Verdict, doc.Progress)
	why := doc.Reasons[0]
	require.Equal(t, "queue_rate", why.Gate, doc.Progress)
	require.Equal(t, map[string]string{"track": "canary"}, why.Scope)
	require.InDelta(t, 0.5, *why.Observed/why.Baseline.Value, 0.1, why.Message)
	require.Empty(t, why.Cause)
	require.Equal(t, "image", doc.Action.Kind)
	require.Equal(t, "worker:1", doc.Action.Image)
}
