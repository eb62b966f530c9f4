package bullmq

import "github.com/rollwatch/rollwatch/probes/probe"

var (
	jobCount = &probe.Metric{
		Name: "bullmq_job_count", Type: probe.Gauge, Labels: []string{"queue", "state"},
		Help:   "Jobs in the queue by state, as BullMQ's getJobCounts() counts them.",
		Source: "LLEN, ZCARD of the queue's keys",
		Note:   "BullMQ 5 moves the waiting jobs of a paused queue to the state paused; BullMQ 6 leaves them waiting: see bullmq_queue_paused.",
	}
	jobCompleted = &probe.Metric{
		Name: "bullmq_job_completed_total", Type: probe.Counter, Labels: []string{"queue", "source"},
		Help:   "Jobs completed: source metrics is BullMQ's own counter, source events what its stream of events told since rollwatch follows it.",
		Source: "HGET metrics:completed count; XREAD events",
		Note: "BullMQ's own shows 0 for a queue whose Workers lack the option metrics. A queue has one source at a time, so a sum over source counts nothing twice; " +
			"see bullmq_queue_event_gaps_total for how far the events can be trusted.",
	}
	jobFailed = &probe.Metric{
		Name: "bullmq_job_failed_total", Type: probe.Counter, Labels: []string{"queue", "source"},
		Help:   "Jobs failed for good: source metrics is BullMQ's own counter, source events what its stream of events told since rollwatch follows it.",
		Source: "HGET metrics:failed count; XREAD events",
		Note:   "As bullmq_job_completed_total.",
	}
	jobStalled = &probe.Metric{
		Name: "bullmq_job_stalled_total", Type: probe.Counter, Labels: []string{"queue"},
		Help:   "Times that a job was taken from a worker that no longer renewed its lock, since rollwatch follows the events.",
		Source: "XREAD events",
		Note:   "Of more than 2,000 queues one that had no events is asked for them at every fourth reading, unless its finished jobs are counted by them: none is lost, but it may be seen later.",
	}
	jobWait = &probe.Metric{
		Name: "bullmq_job_wait_seconds", Type: probe.Histogram, Unit: "seconds", Labels: []string{"queue"},
		Help: "Time from a job's coming into line to a worker's taking it, by the server's clock.", Source: "XREAD events waiting, active",
	}
	jobRun = &probe.Metric{
		Name: "bullmq_job_run_seconds", Type: probe.Histogram, Unit: "seconds", Labels: []string{"queue"},
		Help: "Time of a job's last run, from a worker's taking it to its completing or failing for good.", Source: "XREAD events active, completed, failed",
	}
	eventGaps = &probe.Metric{
		Name: "bullmq_queue_event_gaps_total", Type: probe.Counter, Labels: []string{"queue"},
		Help: "Times that events went by, or may have gone by, unseen: more came between two readings than the stream keeps or than one reading takes. " +
			"What is counted by events is then too low.",
		Source: "XREAD events",
	}
	trackCompleted = &probe.Metric{
		Name: "bullmq_track_jobs_completed_total", Type: probe.Counter, Labels: []string{"queue", "track"},
		Help:   "Jobs completed by the workers of the track; track is empty where nobody knows, as of a job that was removed when it was done.",
		Source: "XREAD events completed, HMGET <job> pb timestamp",
		Note:   "Of more than 200 jobs of a queue that came to an end between two readings only the first 200 count here: compare tracks, and count jobs by bullmq_job_completed_total.",
	}
	trackFailed = &probe.Metric{
		Name: "bullmq_track_jobs_failed_total", Type: probe.Counter, Labels: []string{"queue", "track"},
		Help:   "Jobs that failed for good under the workers of the track; track is empty where nobody knows.",
		Source: "XREAD events failed, HMGET <job> pb timestamp",
		Note:   "As bullmq_track_jobs_completed_total.",
	}
	schedulers = &probe.Metric{
		Name: "bullmq_queue_schedulers", Type: probe.Gauge, Labels: []string{"queue"},
		Help: "Job schedulers of the queue, counted once a minute.", Source: "ZCARD repeat",
	}
	overdueSchedulers = &probe.Metric{
		Name: "bullmq_queue_overdue_schedulers", Type: probe.Gauge, Labels: []string{"queue"},
		Help:   "Job schedulers whose next job was due more than 5 seconds ago, counted once a minute: the job before it has not been taken.",
		Source: "ZCOUNT repeat",
	}
	rateLimited = &probe.Metric{
		Name: "bullmq_queue_rate_limited", Type: probe.Gauge, Labels: []string{"queue"},
		Help: "Whether a rate limit lets no further job begin now. The limit of a worker's own option is written nowhere: " +
			"the most jobs that were seen to begin in a window stand for it.",
		Source: "MGET limiter, HMGET meta max",
		Note:   "As bullmq_queue_paused.",
	}
	queuePaused = &probe.Metric{
		Name: "bullmq_queue_paused", Type: probe.Gauge, Labels: []string{"queue"},
		Help:   "Whether the queue is paused.",
		Source: "HMGET meta paused",
		Note:   "Of more than 2,000 queues each is asked at every fourth reading, and its last answer stands until then.",
	}
	oldestWaiting = &probe.Metric{
		Name: "bullmq_queue_oldest_waiting_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"queue"},
		Help: "Time that the next job in line has been due: since it was added, or since its delay had passed; 0 when none waits. " +
			"A job that is tried again counts from its first time. Prioritized jobs are another line.",
		Source: "LINDEX wait -1, HMGET <job> timestamp delay opts",
	}
	overdue = &probe.Metric{
		Name: "bullmq_queue_overdue_jobs", Type: probe.Gauge, Labels: []string{"queue"},
		Help:   "Delayed jobs whose time came more than 5 seconds ago: no worker has moved them into line.",
		Source: "ZCOUNT delayed",
		Note:   "As bullmq_queue_paused.",
	}
	queueWorkers = &probe.Metric{
		Name: "bullmq_queue_workers", Type: probe.Gauge, Labels: []string{"queue"},
		Help:   "Workers connected for the queue.",
		Source: "CLIENT LIST",
	}
	trackWorkers = &probe.Metric{
		Name: "bullmq_queue_track_workers", Type: probe.Gauge, Labels: []string{"queue", "track"},
		Help:   "Workers connected for the queue whose name is of the track, by worker_tracks.",
		Source: "CLIENT LIST",
	}
	abandoned = &probe.Metric{
		Name: "bullmq_queue_abandoned_jobs", Type: probe.Gauge, Labels: []string{"queue"},
		Help: "Active jobs on which nobody works: in two readings in a row no worker was connected and none had renewed the queue's check for stalled jobs. " +
			"They hold no lock, and stay until a worker starts.",
		Source: "LLEN active, CLIENT LIST, MGET stalled-check, EXISTS <job>:lock",
	}
	queues = &probe.Metric{
		Name: "bullmq_queues", Type: probe.Gauge,
		Help:   "Queues that are known and are there.",
		Source: "SCAN, CLIENT LIST",
	}
	noEviction = &probe.Metric{
		Name: "bullmq_redis_noeviction", Type: probe.Gauge,
		Help:   "Whether the Redis keeps every key when memory runs out (maxmemory-policy noeviction), as BullMQ needs it: 0 means that jobs can be lost.",
		Source: "INFO maxmemory_policy",
	}
)

// Metrics are all families that the probe reads.
var Metrics = []*probe.Metric{
	jobCount, jobCompleted, jobFailed, jobStalled, jobWait, jobRun, eventGaps, trackCompleted, trackFailed,
	queuePaused, oldestWaiting, overdue, schedulers, overdueSchedulers, rateLimited,
	queueWorkers, trackWorkers, abandoned, queues, noEviction,
}
