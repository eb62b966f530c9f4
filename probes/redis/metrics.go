package redis

import (
	"slices"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Up is 1 while the server answers.
var Up = &probe.Metric{
	Name: "redis_up", Type: probe.Gauge,
	Help: "Whether the last reading of the Redis server succeeded.", Source: "PING",
}

var (
	pingSeconds = &probe.Metric{
		Name: "redis_ping_seconds", Type: probe.Histogram, Unit: "seconds",
		Help: "Time the server took to answer our PINGs on a connection that is open, since the daemon started.", Source: "PING",
	}
	startTime = &probe.Metric{
		Name: "redis_start_time_seconds", Type: probe.Gauge, Unit: "seconds",
		Help: "When the server was started, in Unix time by its own clock.", Source: "INFO server_time_usec, uptime_in_seconds",
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

// pingBounds are the upper bounds of the buckets of redis_ping_seconds: a server
// nearby answers within a tenth of a millisecond, one that is busy in many.
var pingBounds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1}

// Metrics are all families that the probe reads, besides Up.
var Metrics = metrics()

func metrics() []*probe.Metric {
	all := []*probe.Metric{
		pingSeconds, startTime, instanceInfo, dbKeys, dbKeysExpiring, slowlogLength, slowlogLastID, slowlogLast, slaveOffset, slaveLag,
		clientsByName,
	}
	all = slices.Concat(all, configMetrics, commandMetrics, clusterMetrics)
	for _, f := range masterFields {
		all = append(all, f.metric)
	}
	for _, f := range infoFields {
		all = append(all, f.metric)
	}
	return all
}
