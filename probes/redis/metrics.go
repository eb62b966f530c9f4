package redis

import (
	"fmt"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Up is 1 while the server answers.
var Up = &probe.Metric{
	Name: "redis_up", Type: probe.Gauge,
	Help: "Whether the last reading of the Redis server succeeded.", Source: "PING",
}

var (
	pingSeconds = &probe.Metric{
		Name: "redis_ping_seconds", Type: probe.Gauge, Unit: "seconds",
		Help: "Time the server took to answer our PING on a connection that is open.", Source: "PING",
	}
	instanceInfo = &probe.Metric{
		Name: "redis_instance_info", Type: probe.Gauge,
		Labels: []string{
			"role", "redis_version", "redis_build_id", "redis_mode", "os", "maxmemory_policy",
			"tcp_port", "run_id", "process_id", "master_replid",
		},
		Help: "What the server is: always 1.", Source: "INFO",
	}
	dbKeys = &probe.Metric{
		Name: "redis_db_keys", Type: probe.Gauge, Labels: []string{"db"},
		Help: "Keys in the database.", Source: "INFO db<n> keys",
	}
	dbKeysExpiring = &probe.Metric{
		Name: "redis_db_keys_expiring", Type: probe.Gauge, Labels: []string{"db"},
		Help: "Keys in the database that will expire.", Source: "INFO db<n> expires",
	}
	slowlogLength = &probe.Metric{
		Name: "redis_slowlog_length", Type: probe.Gauge,
		Help: "Entries in the slow log.", Source: "SLOWLOG LEN",
	}
	configMaxclients = &probe.Metric{
		Name: "redis_config_maxclients", Type: probe.Gauge,
		Help: "Connections the server is configured to take.", Source: "CONFIG GET maxclients",
	}
)

// Replication, seen from the replica.
var (
	masterLabels = []string{"master_host", "master_port"}
	masterFields = []infoField{
		{"master_link_status", 1, &probe.Metric{
			Name: "redis_master_link_up", Type: probe.Gauge, Labels: masterLabels,
			Help: "Whether the replica's link to its master is up.", Source: "INFO master_link_status",
		}},
		{"master_last_io_seconds_ago", 1, &probe.Metric{
			Name: "redis_master_last_io_seconds_ago", Type: probe.Gauge, Unit: "seconds", Labels: masterLabels,
			Help: "Time since the master was last heard.", Source: "INFO master_last_io_seconds_ago",
			Note: "Absent while the link is down, where redis_exporter shows -1.",
		}},
		{"master_sync_in_progress", 1, &probe.Metric{
			Name: "redis_master_sync_in_progress", Type: probe.Gauge, Labels: masterLabels,
			Help: "Whether the replica is loading a full copy from its master.", Source: "INFO master_sync_in_progress",
		}},
		{"slave_repl_offset", 1, &probe.Metric{
			Name: "redis_slave_repl_offset", Type: probe.Gauge, Unit: "bytes", Labels: masterLabels,
			Help: "Offset of the replication stream up to which the replica has applied it.", Source: "INFO slave_repl_offset",
		}},
	}
)

// Replication, seen from the master, for each of its replicas.
var (
	slaveLabels = []string{"slave_ip", "slave_port", "slave_state"}
	slaveOffset = &probe.Metric{
		Name: "redis_connected_slave_offset_bytes", Type: probe.Gauge, Unit: "bytes", Labels: slaveLabels,
		Help: "Offset of the replication stream that the replica has acknowledged.", Source: "INFO slave<n> offset",
	}
	slaveLag = &probe.Metric{
		Name: "redis_connected_slave_lag_seconds", Type: probe.Gauge, Unit: "seconds", Labels: slaveLabels,
		Help: "Time since the replica's last acknowledgement.", Source: "INFO slave<n> lag",
	}
)

// An infoField is a field of INFO that is a metric by itself.
type infoField struct {
	field  string
	factor float64 // from the field's unit to the metric's
	metric *probe.Metric
}

// infoFields is where a family is added: one line.
var infoFields = []infoField{
	gauge("uptime_in_seconds", "uptime_in_seconds", "seconds", "Time since the server started."),

	gauge("connected_clients", "connected_clients", "", "Connections of clients, replicas not counted."),
	gauge("blocked_clients", "blocked_clients", "", "Clients waiting in a blocking command; workers of queues do so by design."),
	gauge("maxclients", "max_clients", "", "Connections the server takes at most."),
	gauge("tracking_clients", "tracking_clients", "", "Clients being tracked for client-side caching."),
	gauge("client_recent_max_input_buffer", "client_recent_max_input_buffer_bytes", "bytes", "Largest input buffer among clients of late."),
	gauge("client_recent_max_output_buffer", "client_recent_max_output_buffer_bytes", "bytes", "Largest output buffer among clients of late."),
	counter("total_connections_received", "connections_received_total", "", "Connections accepted."),
	counter("rejected_connections", "rejected_connections_total", "", "Connections refused because of the limit of clients."),

	gauge("used_memory", "memory_used_bytes", "bytes", "Memory in use, as the allocator counts it."),
	gauge("used_memory_rss", "memory_used_rss_bytes", "bytes", "Memory in use, as the operating system counts it."),
	gauge("used_memory_peak", "memory_used_peak_bytes", "bytes", "Most memory ever in use."),
	gauge("used_memory_dataset", "memory_used_dataset_bytes", "bytes", "Memory in use by the data."),
	gauge("used_memory_overhead", "memory_used_overhead_bytes", "bytes", "Memory in use by what manages the data."),
	gauge("maxmemory", "memory_max_bytes", "bytes", "Limit of memory; 0 is no limit."),
	gauge("mem_fragmentation_ratio", "mem_fragmentation_ratio", "ratio", "Memory as the operating system counts it, by memory as the allocator counts it."),
	counter("evicted_keys", "evicted_keys_total", "", "Keys dropped for want of memory."),
	counter("expired_keys", "expired_keys_total", "", "Keys whose time was up."),

	gauge("loading", "loading_dump_file", "", "Whether the server is loading its data."),
	gauge("rdb_changes_since_last_save", "rdb_changes_since_last_save", "", "Changes that the last snapshot does not hold."),
	gauge("rdb_bgsave_in_progress", "rdb_bgsave_in_progress", "", "Whether a snapshot is being written."),
	gauge("rdb_last_save_time", "rdb_last_save_timestamp_seconds", "seconds", "When the last snapshot was written."),
	gauge("rdb_last_bgsave_status", "rdb_last_bgsave_status", "", "Whether the last snapshot succeeded."),
	gauge("aof_enabled", "aof_enabled", "", "Whether the append-only file is on."),
	gauge("aof_rewrite_in_progress", "aof_rewrite_in_progress", "", "Whether the append-only file is being rewritten."),
	gauge("aof_last_bgrewrite_status", "aof_last_bgrewrite_status", "", "Whether the last rewrite of the append-only file succeeded."),
	gauge("aof_last_write_status", "aof_last_write_status", "", "Whether the last write to the append-only file succeeded."),
	scaled("latest_fork_usec", 1e-6, gauge("", "latest_fork_seconds", "seconds", "Time the last fork took; nobody is served meanwhile.")),

	counter("total_commands_processed", "commands_processed_total", "", "Commands processed."),
	counter("keyspace_hits", "keyspace_hits_total", "", "Look-ups that found their key."),
	counter("keyspace_misses", "keyspace_misses_total", "", "Look-ups that did not find their key."),
	counter("total_net_input_bytes", "net_input_bytes_total", "bytes", "Bytes read from the network."),
	counter("total_net_output_bytes", "net_output_bytes_total", "bytes", "Bytes written to the network."),
	counter("used_cpu_sys", "cpu_sys_seconds_total", "seconds", "Processor time in the kernel."),
	counter("used_cpu_user", "cpu_user_seconds_total", "seconds", "Processor time in the server itself."),
	gauge("pubsub_channels", "pubsub_channels", "", "Channels with subscribers."),
	gauge("pubsub_patterns", "pubsub_patterns", "", "Patterns with subscribers."),
	gauge("cluster_enabled", "cluster_enabled", "", "Whether the server is part of a cluster."),

	gauge("connected_slaves", "connected_slaves", "", "Replicas connected."),
	gauge("master_repl_offset", "master_repl_offset", "bytes", "Offset of the replication stream."),
	gauge("repl_backlog_size", "replication_backlog_bytes", "bytes", "Size of the backlog from which a replica can catch up."),
	gauge("repl_backlog_histlen", "repl_backlog_history_bytes", "bytes", "Bytes the backlog holds."),
	gauge("sync_full", "replica_resyncs_full", "", "Full copies sent to replicas since the start."),
	gauge("sync_partial_ok", "replica_partial_resync_accepted", "", "Requests of replicas to catch up that were granted, since the start."),
	gauge("sync_partial_err", "replica_partial_resync_denied", "", "Requests of replicas to catch up that were refused, since the start."),
}

func gauge(field, name, unit, help string) infoField {
	return infoField{field, 1, &probe.Metric{
		Name: "redis_" + name, Type: probe.Gauge, Unit: unit, Help: help, Source: "INFO " + field,
	}}
}

func counter(field, name, unit, help string) infoField {
	f := gauge(field, name, unit, help)
	f.metric.Type = probe.Counter
	return f
}

func scaled(field string, factor float64, f infoField) infoField {
	f.field, f.factor = field, factor
	f.metric.Source = fmt.Sprintf("INFO %s", field)
	return f
}

// Metrics are all families that the probe reads, besides Up.
var Metrics = metrics()

func metrics() []*probe.Metric {
	all := []*probe.Metric{
		pingSeconds, instanceInfo, dbKeys, dbKeysExpiring, slowlogLength, configMaxclients, slaveOffset, slaveLag,
	}
	for _, f := range masterFields {
		all = append(all, f.metric)
	}
	for _, f := range infoFields {
		all = append(all, f.metric)
	}
	return all
}
