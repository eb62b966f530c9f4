package asynq

import "github.com/rollwatch/rollwatch/probes/probe"

var byQueue = []string{"queue"}

// The families of Asynq's x/metrics, under their names.
var (
	queueSize = &probe.Metric{
		Name: "asynq_queue_size", Type: probe.Gauge, Labels: byQueue,
		Help:   "Tasks in the queue in all states, archived and completed ones that are kept included.",
		Source: "the sum of asynq_queue_tasks",
	}
	latency = &probe.Metric{
		Name: "asynq_queue_latency_seconds", Type: probe.Gauge, Unit: "seconds", Labels: byQueue,
		Help:   "Time that the oldest pending task has waited; 0 when none waits.",
		Source: "LINDEX pending -1, HGET <task> pending_since",
	}
	processed = &probe.Metric{
		Name: "asynq_tasks_processed_total", Type: probe.Counter, Labels: byQueue,
		Help:   "Tasks processed, those that failed included.",
		Source: "MGET processed",
	}
	failed = &probe.Metric{
		Name: "asynq_tasks_failed_total", Type: probe.Counter, Labels: byQueue,
		Help:   "Attempts at tasks that failed.",
		Source: "MGET failed",
	}
	tasksEnqueued = &probe.Metric{
		Name: "asynq_tasks_enqueued_total", Type: probe.Gauge, Labels: []string{"queue", "state"},
		Help:   "Tasks in the queue by state.",
		Source: "as asynq_queue_tasks",
		Note:   "Kept for the dashboards that use it. It is a gauge in spite of its name: asynq_queue_tasks is the same under a true one.",
	}
	pausedTotal = &probe.Metric{
		Name: "asynq_queue_paused_total", Type: probe.Gauge, Labels: byQueue,
		Help:   "Whether the queue is paused.",
		Source: "as asynq_queue_paused",
		Note:   "Kept for the dashboards that use it. It is a gauge in spite of its name: asynq_queue_paused is the same under a true one.",
	}
)

// What Asynq's x/metrics lacks.
var (
	queueTasks = &probe.Metric{
		Name: "asynq_queue_tasks", Type: probe.Gauge, Labels: []string{"queue", "state"},
		Help:   "Tasks in the queue by state. Aggregating tasks are counted in up to 5000 groups.",
		Source: "LLEN, ZCARD of the queue's keys",
		Note:   "Named asynq_tasks_enqueued_total in x/metrics, which is the name of a counter.",
	}
	queuePaused = &probe.Metric{
		Name: "asynq_queue_paused", Type: probe.Gauge, Labels: byQueue,
		Help:   "Whether the queue is paused.",
		Source: "MGET paused",
		Note:   "Named asynq_queue_paused_total in x/metrics, which is the name of a counter.",
	}
	orphaned = &probe.Metric{
		Name: "asynq_queue_orphaned_tasks", Type: probe.Gauge, Labels: byQueue,
		Help:   "Active tasks whose lease has expired: the server that took them is gone. A live server of the queue takes them up again.",
		Source: "ZCOUNT lease",
	}
	overdue = &probe.Metric{
		Name: "asynq_queue_overdue_tasks", Type: probe.Gauge, Labels: []string{"queue", "state"},
		Help:   "Tasks scheduled or to be tried again whose time came more than 10 seconds ago: no server has moved them into line.",
		Source: "ZCOUNT scheduled, retry",
	}
	queueGroups = &probe.Metric{
		Name: "asynq_queue_groups", Type: probe.Gauge, Labels: byQueue,
		Help:   "Groups of tasks that are being aggregated.",
		Source: "SCARD groups",
	}
	queueServers = &probe.Metric{
		Name: "asynq_queue_servers", Type: probe.Gauge, Labels: byQueue,
		Help:   "Servers alive that take tasks from the queue.",
		Source: "GET asynq:servers:<server>",
	}
	servers = &probe.Metric{
		Name: "asynq_servers", Type: probe.Gauge,
		Help:   "Servers alive.",
		Source: "ZRANGE asynq:servers",
	}
	workers = &probe.Metric{
		Name: "asynq_workers", Type: probe.Gauge,
		Help:   "Tasks that the servers alive can work on at once.",
		Source: "GET asynq:servers:<server>",
	}
	workersBusy = &probe.Metric{
		Name: "asynq_workers_busy", Type: probe.Gauge,
		Help:   "Tasks that the servers alive are working on.",
		Source: "GET asynq:servers:<server>",
	}
	schedulers = &probe.Metric{
		Name: "asynq_schedulers", Type: probe.Gauge,
		Help:   "Schedulers of periodic tasks alive.",
		Source: "ZRANGE asynq:schedulers",
	}
	schedulerEntries = &probe.Metric{
		Name: "asynq_scheduler_entries", Type: probe.Gauge,
		Help:   "Periodic tasks that the schedulers alive enqueue: a task that two schedulers enqueue counts twice, and is enqueued twice.",
		Source: "LRANGE asynq:schedulers:<scheduler>",
	}
	overdueEntries = &probe.Metric{
		Name: "asynq_scheduler_overdue_entries", Type: probe.Gauge,
		Help:   "Periodic tasks that a scheduler alive should have enqueued more than 30 seconds ago.",
		Source: "LRANGE asynq:schedulers:<scheduler>",
	}
	queues = &probe.Metric{
		Name: "asynq_queues", Type: probe.Gauge,
		Help:   "Queues.",
		Source: "SMEMBERS asynq:queues",
	}
	noEviction = &probe.Metric{
		Name: "asynq_redis_noeviction", Type: probe.Gauge,
		Help:   "Whether the Redis keeps every key when memory runs out (maxmemory-policy noeviction): 0 means that tasks can be lost.",
		Source: "INFO maxmemory_policy",
	}
)

// Metrics are all families that the probe reads.
var Metrics = []*probe.Metric{
	queueSize, latency, processed, failed, tasksEnqueued, pausedTotal,
	queueTasks, queuePaused, orphaned, overdue, queueGroups, queueServers,
	servers, workers, workersBusy, schedulers, schedulerEntries, overdueEntries, queues, noEviction,
}
