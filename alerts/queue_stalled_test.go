package alerts

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAQueueThatStandsStill(t *testing.T) {
	service := &Service{Name: "worker", Queues: []string{"jobs"}}
	const jobs = `{job="rollwatch",target="jobs",queue="mail"`
	// The rollout began after an hour, at reading 240, and is looked at ten minutes later.
	queue := func(waiting, workers, completed string, more ...string) map[string]string {
		all := map[string]string{
			`rollwatch_probe_up{job="rollwatch",kind="bullmq",target="jobs"}`: "1x280",
			`bullmq_job_count` + jobs + `,state="waiting"}`:                   waiting,
			`bullmq_job_count` + jobs + `,state="completed"}`:                 "500x280",
			`bullmq_queue_workers` + jobs + `}`:                               workers,
			`bullmq_job_completed_total` + jobs + `,source="events"}`:         completed,
		}
		for i := 0; i+1 < len(more); i += 2 {
			all[more[i]+jobs+`}`] = more[i+1]
		}
		return all
	}
	for name, c := range map[string]struct {
		series  map[string]string
		state   State
		message string
	}{
		"it works":                             {queue("5x280", "2x280", "0+10x280"), OK, "1 queues move"},
		"nothing is finished any more":         {queue("5x280", "2x280", "0+10x250 2500x30"), Firing, "jobs/mail: 5 jobs wait for 2 workers, and none was finished since"},
		"not for two minutes yet":              {queue("5x280", "2x280", "0+10x275 2750x5"), OK, ""},
		"it fails its jobs, but it moves":      {queue("5x280", "2x280", "2500x280", "bullmq_job_failed_total", "0+3x280"), OK, ""},
		"there is nothing to do":               {queue("0x280", "2x280", "0+10x250 2500x30"), OK, ""},
		"nobody works, which others say":       {queue("5x280", "0x280", "0+10x250 2500x30"), OK, ""},
		"it is paused":                         {queue("5x280", "2x280", "0+10x250 2500x30", "bullmq_queue_paused", "0x240 1x40"), OK, ""},
		"its rate limit holds it":              {queue("5x280", "2x280", "0+10x250 2500x30", "bullmq_queue_rate_limited", "0x240 1x40"), OK, ""},
		"ten jobs an hour may take their time": {queue("5x280", "2x280", "0+0.0416x240 10x40"), OK, ""},
		"it never finished anything":           {queue("5x280", "2x280", "0x280"), OK, ""},
		"active jobs are abandoned":            {queue("0x280", "0x280", "0+10x250 2500x30", "bullmq_queue_abandoned_jobs", "0x260 3x20"), Firing, "jobs/mail: 3 active jobs are abandoned since"},
		"they were abandoned before":           {queue("0x280", "0x280", "0+10x230 2300x50", "bullmq_queue_abandoned_jobs", "0x200 3x80"), OK, ""},
		"it stood still before":                {queue("5x280", "2x280", "0+10x200 2000x80"), OK, ""},
		"it was idle before":                   {queue("0x240 5x40", "2x280", "0+10x200 2000x80"), Firing, "5 jobs wait"},
		"a worker took them up again":          {queue("0x280", "0x280", "0+10x280", "bullmq_queue_abandoned_jobs", "0x250 3x20 0x10"), OK, ""},
		"nothing is read any more":             {queue("5x250", "2x250", "0+10x250"), OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			scene := probeScene(t, service, 70*time.Minute, c.series)
			scene.Subject.StartedAt = time.Unix(0, 0).Add(time.Hour)
			f := findings(t, scene)["queue_stalled"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Contains(t, f.Message, c.message)
			require.True(t, f.Required)
		})
	}

	tasks := map[string]string{
		`rollwatch_probe_up{job="rollwatch",kind="asynq",target="jobs"}`: "1x280",
		`asynq_queue_tasks` + jobs + `,state="pending"}`:                 "9x280",
		`asynq_queue_servers` + jobs + `}`:                               "1x280",
		`asynq_tasks_processed_total` + jobs + `}`:                       "0+10x250 2500x30",
	}
	scene := probeScene(t, service, 70*time.Minute, tasks)
	scene.Subject.StartedAt = time.Unix(0, 0).Add(time.Hour)
	f := findings(t, scene)["queue_stalled"]
	require.Equal(t, Firing, f.State, "Asynq's too: %s", f.Message)
	require.Equal(t, NoSeries, findings(t, probeScene(t, service, 10*time.Minute, map[string]string{}))["queue_stalled"].State)
}
