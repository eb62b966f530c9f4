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
		Name: "bullmq_job_completed_total", Type: probe.Counter, Labels: []string{"queue"},
		Help:   "Jobs completed.",
		Source: "HGET metrics:completed count",
		Note:   "Only where a Worker has the option metrics; without it BullMQ counts nothing, and shows 0.",
	}
	jobFailed = &probe.Metric{
		Name: "bullmq_job_failed_total", Type: probe.Counter, Labels: []string{"queue"},
		Help:   "Jobs failed for good.",
		Source: "HGET metrics:failed count",
		Note:   "Only where a Worker has the option metrics; without it BullMQ counts nothing, and shows 0.",
	}
	queuePaused = &probe.Metric{
		Name: "bullmq_queue_paused", Type: probe.Gauge, Labels: []string{"queue"},
		Help:   "Whether the queue is paused.",
		Source: "HMGET meta paused",
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
			"They stay until a worker starts.",
		Source: "LLEN active, CLIENT LIST, MGET stalled-check",
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
	jobCount, jobCompleted, jobFailed, queuePaused, oldestWaiting, overdue,
	queueWorkers, trackWorkers, abandoned, queues, noEviction,
}
