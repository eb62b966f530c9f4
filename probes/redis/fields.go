package redis

import (
	"fmt"

	"github.com/rollwatch/rollwatch/probes/probe"
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

	gauge("active_defrag_running", "active_defrag_running", "", "Whether memory is being defragmented, as the share of processor time it may take."),
	gauge("allocator_active", "allocator_active_bytes", "bytes", "Memory in the allocator's active pages."),
	gauge("allocator_allocated", "allocator_allocated_bytes", "bytes", "Memory that the allocator gave out."),
	gauge("allocator_frag_bytes", "allocator_frag_bytes", "bytes", "Memory lost to the allocator's own fragmentation."),
	gauge("allocator_frag_ratio", "allocator_frag_ratio", "ratio", "Active pages, by what the allocator gave out."),
	gauge("allocator_resident", "allocator_resident_bytes", "bytes", "Memory of the allocator that is resident."),
	gauge("allocator_rss_bytes", "allocator_rss_bytes", "bytes", "Resident memory of the allocator beyond its active pages."),
	gauge("allocator_rss_ratio", "allocator_rss_ratio", "ratio", "Resident memory of the allocator, by its active pages."),
	gauge("mem_fragmentation_bytes", "mem_fragmentation_bytes", "bytes", "Memory as the operating system counts it, less what the allocator counts."),
	gauge("mem_aof_buffer", "mem_aof_buffer_bytes", "bytes", "Memory of the buffers of the append-only file."),
	noted("The name is redis_exporter's, though it lacks the unit.", gauge("mem_clients_normal", "mem_clients_normal", "", "Memory of ordinary clients, in bytes.")),
	noted("The name is redis_exporter's, though it lacks the unit.", gauge("mem_clients_slaves", "mem_clients_slaves", "", "Memory of replicas' connections, in bytes.")),
	gauge("mem_cluster_links", "mem_cluster_links_bytes", "bytes", "Memory of the links to the cluster's other nodes."),
	gauge("mem_not_counted_for_evict", "mem_not_counted_for_eviction_bytes", "bytes", "Memory that does not count against the limit."),
	gauge("mem_replication_backlog", "mem_replication_backlog_bytes", "bytes", "Memory of the backlog from which a replica can catch up."),
	gauge("mem_total_replication_buffers", "mem_total_replication_buffers_bytes", "bytes", "Memory of the backlog and of replicas' buffers."),
	gauge("used_memory_functions", "memory_used_functions_bytes", "bytes", "Memory of functions."),
	gauge("used_memory_lua", "memory_used_lua_bytes", "bytes", "Memory of the Lua engine."),
	gauge("used_memory_scripts", "memory_used_scripts_bytes", "bytes", "Memory of scripts and functions."),
	gauge("used_memory_scripts_eval", "memory_used_scripts_eval_bytes", "bytes", "Memory of cached scripts."),
	gauge("used_memory_startup", "memory_used_startup_bytes", "bytes", "Memory in use when the server had started."),
	gauge("used_memory_vm_eval", "memory_used_vm_eval_bytes", "bytes", "Memory of the engine for scripts."),
	gauge("used_memory_vm_functions", "memory_used_vm_functions_bytes", "bytes", "Memory of the engine for functions."),
	noted("The name is redis_exporter's: a gauge, though it ends in _total.", gauge("used_memory_vm_total", "memory_used_vm_total", "", "Memory of the engines for scripts and functions, in bytes.")),

	gauge("async_loading", "async_loading", "", "Whether a replica loads a full copy while it serves the old one."),
	gauge("clients_in_timeout_table", "clients_in_timeout_table", "", "Clients whose blocking command will time out."),
	gauge("cluster_connections", "cluster_connections", "", "Sockets of the cluster's bus."),
	gauge("io_threads_active", "io_threads_active", "", "Whether more than the main thread reads and writes."),
	plain("io_threaded_reads_processed", "io_threaded_reads_processed", "Reads by the threads for it."),
	plain("io_threaded_writes_processed", "io_threaded_writes_processed", "Writes by the threads for it."),
	plain("total_reads_processed", "total_reads_processed", "Reads from clients."),
	plain("total_writes_processed", "total_writes_processed", "Writes to clients."),
	plain("total_error_replies", "total_error_replies", "Errors that were answered."),
	plain("unexpected_error_replies", "unexpected_error_replies", "Errors that were answered to replicas or to the loading of the append-only file."),
	counter("reply_buffer_expands", "reply_buffer_expands_total", "", "Times that the buffer of a client's replies grew."),
	counter("reply_buffer_shrinks", "reply_buffer_shrinks_total", "", "Times that the buffer of a client's replies shrank."),
	counter("evicted_clients", "evicted_clients_total", "", "Clients dropped for want of memory."),
	noted("In milliseconds, as redis_exporter has it.", gauge("current_eviction_exceeded_time", "current_eviction_exceeded_time_ms", "milliseconds", "How long memory has been over its limit, in milliseconds.")),
	noted("In milliseconds, as redis_exporter has it.", counter("total_eviction_exceeded_time", "eviction_exceeded_time_ms_total", "milliseconds", "How long memory was over its limit, in milliseconds.")),
	noted("In milliseconds, as redis_exporter has it.", counter("expire_cycle_cpu_milliseconds", "expire_cycle_cpu_time_ms_total", "milliseconds", "Processor time spent on expiring keys, in milliseconds.")),
	gauge("expired_stale_perc", "expired_stale_percentage", "", "How many keys are expired and not deleted yet, estimated, in percent."),
	counter("expired_time_cap_reached_count", "expired_time_cap_reached_total", "", "Times that expiring keys was stopped because it took too long."),
	gauge("tracking_total_keys", "tracking_total_keys", "", "Keys that are tracked for client-side caching."),
	gauge("tracking_total_items", "tracking_total_items", "", "Pairs of client and key that are tracked."),
	gauge("tracking_total_prefixes", "tracking_total_prefixes", "", "Prefixes that are tracked."),
	gauge("pubsubshard_channels", "pubsubshard_channels", "", "Sharded channels with subscribers."),

	gauge("active_defrag_hits", "defrag_hits", "", "Values that defragmentation moved, since the start."),
	gauge("active_defrag_misses", "defrag_misses", "", "Values that defragmentation left where they were, since the start."),
	gauge("active_defrag_key_hits", "defrag_key_hits", "", "Keys that defragmentation moved, since the start."),
	gauge("active_defrag_key_misses", "defrag_key_misses", "", "Keys that defragmentation left where they were, since the start."),
	gauge("lazyfree_pending_objects", "lazyfree_pending_objects", "", "Values that wait to be freed."),
	gauge("lazyfreed_objects", "lazyfreed_objects", "", "Values that were freed in the background, since the start."),
	gauge("number_of_cached_scripts", "number_of_cached_scripts", "", "Scripts that are cached."),
	gauge("number_of_functions", "number_of_functions", "", "Functions that are loaded."),
	gauge("number_of_libraries", "number_of_libraries", "", "Libraries of functions that are loaded."),
	plain("dump_payload_sanitizations", "dump_payload_sanitizations", "Values that were checked whole when they were restored."),
	noted("The name is redis_exporter's: a gauge, though it ends in _total.", gauge("migrate_cached_sockets", "migrate_cached_sockets_total", "", "Sockets that are kept for moving keys.")),
	gauge("module_fork_in_progress", "module_fork_in_progress", "", "Whether a module's child process runs."),
	gauge("module_fork_last_cow_size", "module_fork_last_cow_size", "", "Memory that was copied while a module's last child ran, in bytes."),

	noted("Absent while none is written, where redis_exporter shows -1.", gauge("rdb_current_bgsave_time_sec", "rdb_current_bgsave_duration_sec", "", "How long the snapshot has taken that is being written, in seconds.")),
	noted("Absent when none was written, where redis_exporter shows -1.", gauge("rdb_last_bgsave_time_sec", "rdb_last_bgsave_duration_sec", "", "How long the last snapshot took, in seconds.")),
	gauge("rdb_last_cow_size", "rdb_last_cow_size_bytes", "bytes", "Memory that was copied while the last snapshot was written."),
	gauge("rdb_last_load_keys_expired", "rdb_last_load_expired_keys", "", "Keys that had expired when the data was loaded."),
	gauge("rdb_last_load_keys_loaded", "rdb_last_load_loaded_keys", "", "Keys that were loaded."),
	noted("The name is redis_exporter's: a gauge, though it ends in _total.", gauge("rdb_saves", "rdb_saves_total", "", "Snapshots that were written, since the start.")),
	noted("Absent while none goes on, where redis_exporter shows -1.", gauge("aof_current_rewrite_time_sec", "aof_current_rewrite_duration_sec", "", "How long the rewrite of the append-only file has taken that goes on, in seconds.")),
	noted("Absent when there was none, where redis_exporter shows -1.", gauge("aof_last_rewrite_time_sec", "aof_last_rewrite_duration_sec", "", "How long the last rewrite of the append-only file took, in seconds.")),
	gauge("aof_last_cow_size", "aof_last_cow_size_bytes", "bytes", "Memory that was copied while the append-only file was rewritten."),
	gauge("aof_rewrite_scheduled", "aof_rewrite_scheduled", "", "Whether a rewrite of the append-only file waits for a snapshot to end."),

	counter("used_cpu_sys_children", "cpu_sys_children_seconds_total", "seconds", "Processor time of child processes in the kernel."),
	counter("used_cpu_user_children", "cpu_user_children_seconds_total", "seconds", "Processor time of child processes themselves."),
	counter("used_cpu_sys_main_thread", "cpu_sys_main_thread_seconds_total", "seconds", "Processor time of the main thread in the kernel."),
	counter("used_cpu_user_main_thread", "cpu_user_main_thread_seconds_total", "seconds", "Processor time of the main thread itself."),
	gauge("hz", "hz", "", "How often a second the server does its own chores."),
	gauge("configured_hz", "configured_hz", "", "How often a second the server is configured to do its own chores."),
	gauge("process_id", "process_id", "", "Process of the server."),

	counter("total_net_repl_input_bytes", "net_repl_input_bytes_total", "bytes", "Bytes read of replication."),
	counter("total_net_repl_output_bytes", "net_repl_output_bytes_total", "bytes", "Bytes written for replication."),
	gauge("repl_backlog_active", "repl_backlog_is_active", "", "Whether there is a backlog from which a replica can catch up."),
	gauge("repl_backlog_first_byte_offset", "repl_backlog_first_byte_offset", "", "Offset of the replication stream at which the backlog begins."),
	noted("Absent when there was no other master, where redis_exporter shows -1.", gauge("second_repl_offset", "second_repl_offset", "", "Offset up to which replicas of the former master can go on.")),
	gauge("slave_expires_tracked_keys", "slave_expires_tracked_keys", "", "Keys that a writable replica expires by itself."),
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

// plain is a counter whose established name has no _total.
func plain(field, name, help string) infoField {
	return noted("The name is redis_exporter's, though it lacks _total; it is exposed untyped, so that OpenMetrics does not add it.", counter(field, name, "", help))
}

func noted(note string, f infoField) infoField {
	f.metric.Note = note
	return f
}
