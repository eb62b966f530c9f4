package redis

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// ClusterCommands are what the probe of a cluster asks of each node, and what
// the client asks to find them.
var ClusterCommands = []string{"ping", "info", "cluster|info", "cluster|slots", "cluster|shards", "command", "client|setname"}

const viewCluster = "CLUSTER INFO"

// clusterFields are of CLUSTER INFO, under redis_exporter's names.
var clusterFields = []struct {
	field  string
	metric *probe.Metric
}{
	{"cluster_slots_assigned", clusterGauge("redis_cluster_slots_assigned", "Slots that a node serves; a whole cluster has 16384.")},
	{"cluster_slots_ok", clusterGauge("redis_cluster_slots_ok", "Slots whose node answers.")},
	{"cluster_slots_pfail", clusterGauge("redis_cluster_slots_pfail", "Slots whose node the node that was asked cannot reach.")},
	{"cluster_slots_fail", clusterGauge("redis_cluster_slots_fail", "Slots whose node is down, as the masters agree.")},
	{"cluster_known_nodes", clusterGauge("redis_cluster_known_nodes", "Nodes that are known, those that are down included.")},
	{"cluster_size", clusterGauge("redis_cluster_size", "Masters that serve slots.")},
	{"cluster_current_epoch", clusterGauge("redis_cluster_current_epoch", "The cluster's epoch, which each failover raises.")},
}

func clusterGauge(name, help string) *probe.Metric {
	return &probe.Metric{Name: name, Type: probe.Gauge, Help: help, Source: viewCluster}
}

var (
	clusterState = clusterGauge("redis_cluster_state", "Whether the cluster serves (1) or not (0), as the node that was asked sees it.")
	nodeUp       = nodeMetric("redis_node_up", "Whether the node answers.", probe.Gauge, "", "INFO")
	nodeMaster   = nodeMetric("redis_node_master", "Whether the node is a master (1) or a replica (0).", probe.Gauge, "", "INFO role")
	nodeFields   = []struct {
		field  string
		metric *probe.Metric
	}{
		{"used_memory", nodeMetric("redis_node_memory_used_bytes", "Memory that the node's data takes.", probe.Gauge, "bytes", "INFO used_memory")},
		{"maxmemory", nodeMetric("redis_node_memory_max_bytes", "Memory that the node may take; 0 is no limit.", probe.Gauge, "bytes", "INFO maxmemory")},
		{"connected_clients", nodeMetric("redis_node_connected_clients", "Clients that are connected to the node.", probe.Gauge, "", "INFO connected_clients")},
		{"blocked_clients", nodeMetric("redis_node_blocked_clients", "Clients that wait for something on the node, as workers do by design.", probe.Gauge, "", "INFO blocked_clients")},
		{"total_commands_processed", nodeMetric("redis_node_commands_processed_total", "Commands that the node has processed.", probe.Counter, "", "INFO total_commands_processed")},
		{"evicted_keys", nodeMetric("redis_node_evicted_keys_total", "Keys that the node has evicted for want of memory.", probe.Counter, "", "INFO evicted_keys")},
		{"rejected_connections", nodeMetric("redis_node_rejected_connections_total", "Connections that the node has refused.", probe.Counter, "", "INFO rejected_connections")},
		{"master_repl_offset", nodeMetric("redis_node_replication_offset_bytes", "How far the node's replication has come: a replica less than its master is behind.", probe.Gauge, "bytes", "INFO master_repl_offset")},
	}
)

func nodeMetric(name, help string, kind probe.Type, unit, source string) *probe.Metric {
	return &probe.Metric{
		Name: name, Type: kind, Unit: unit, Labels: []string{"node"}, Help: help, Source: source,
		Note: "Of each node of a target that is a cluster. To have every family of a node, list it as a target of its own by its url.",
	}
}

// clusterMetrics are the families of a target that is a cluster.
var clusterMetrics = func() []*probe.Metric {
	metrics := []*probe.Metric{clusterState, nodeUp, nodeMaster}
	for _, f := range clusterFields {
		metrics = append(metrics, f.metric)
	}
	for _, f := range nodeFields {
		metrics = append(metrics, f.metric)
	}
	return metrics
}()

// clusterReader is the probe of a Redis Cluster.
type clusterReader struct {
	client *goredis.ClusterClient // shared with the probes of the cluster's queues
}

// Close does nothing: the connections are those of Links.
func (r *clusterReader) Close() error { return nil }

// A node is what one node answered.
type node struct {
	address string
	info    Info
	err     error
}

// Read asks one node how the cluster is, and every node how itself is.
func (r *clusterReader) Read(ctx context.Context) (probe.Reading, error) {
	views := NewViews(viewCluster, viewInfo)
	text, err := r.client.ClusterInfo(ctx).Result()
	if err != nil && (!replied(err) || unserved(err)) {
		return probe.Reading{}, fmt.Errorf("cluster info: %w", err)
	}
	reading := probe.Reading{Details: map[string]any{}}
	if views.Note(viewCluster, err) {
		r.addState(&reading, ParseInfo(text))
	}
	nodes, err := r.nodes(ctx)
	if err != nil {
		return probe.Reading{}, fmt.Errorf("nodes: %w", err)
	}
	silent := []string{}
	for _, n := range nodes {
		if n.err != nil && (!replied(n.err) || unserved(n.err)) {
			silent = append(silent, n.address)
			reading.Samples = append(reading.Samples, nodeUp.Sample(0, n.address))
			continue
		}
		reading.Samples = append(reading.Samples, nodeUp.Sample(1, n.address))
		if views.Note(viewInfo, n.err) {
			reading.Samples = append(reading.Samples, n.samples()...)
		}
	}
	if len(silent) > 0 {
		reading.Details["nodesDown"] = silent
	}
	reading.Details["nodes"] = len(nodes)
	reading.Views = views
	return reading, nil
}

func (r *clusterReader) addState(reading *probe.Reading, info Info) {
	state := 0.0
	if info["cluster_state"] == "ok" {
		state = 1
	} else {
		reading.Ill = fmt.Sprintf("cluster_state is %s: %s of 16384 slots are served", info["cluster_state"], info["cluster_slots_ok"])
	}
	reading.Details["state"] = info["cluster_state"]
	reading.Samples = append(reading.Samples, clusterState.Sample(state))
	for _, f := range clusterFields {
		if v, ok := info.Number(f.field); ok {
			reading.Samples = append(reading.Samples, f.metric.Sample(v))
		}
	}
}

// nodes asks every node that is known.
func (r *clusterReader) nodes(ctx context.Context) ([]node, error) {
	var mu sync.Mutex
	var nodes []node
	err := r.client.ForEachShard(ctx, func(ctx context.Context, client *goredis.Client) error {
		n := node{address: client.Options().Addr}
		text, err := client.Info(ctx).Result()
		n.info, n.err = ParseInfo(text), err
		mu.Lock()
		defer mu.Unlock()
		nodes = append(nodes, n)
		return nil
	})
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.address, b.address) })
	return nodes, err
}

func (n node) samples() []probe.Sample {
	master := 0.0
	if n.info["role"] == "master" {
		master = 1
	}
	samples := []probe.Sample{nodeMaster.Sample(master, n.address)}
	for _, f := range nodeFields {
		if v, ok := n.info.Number(f.field); ok {
			samples = append(samples, f.metric.Sample(v, n.address))
		}
	}
	return samples
}

// Masters are the servers that hold keys: the one, or every master of a cluster.
func Masters(ctx context.Context, client goredis.UniversalClient) ([]goredis.UniversalClient, error) {
	cluster, ok := client.(*goredis.ClusterClient)
	if !ok {
		return []goredis.UniversalClient{client}, nil
	}
	var mu sync.Mutex
	var masters []goredis.UniversalClient
	err := cluster.ForEachMaster(ctx, func(_ context.Context, master *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, master)
		return nil
	})
	return masters, err
}
