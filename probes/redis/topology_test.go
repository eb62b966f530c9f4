package redis_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

func TestAFailoverIsFollowedBySentinel(t *testing.T) {
	master := live.Redis(t)
	replica := master.Replica(t)
	sentinel := master.Sentinel(t)
	require.Eventually(t, func() bool { // it knows the replica
		return strings.Contains((&live.RedisServer{URL: "redis://" + sentinel.Addr}).Do(t, "info", "sentinel").(string), "slaves=1")
	}, 15*time.Second, 50*time.Millisecond)
	config := &redis.Config{Name: "main", Sentinel: &redis.Sentinel{Master: sentinel.Master, Addresses: []string{"127.0.0.1:1", "", sentinel.Addr}}}
	require.Equal(t, "sentinel://127.0.0.1:1,"+sentinel.Addr+"/app", config.Address())
	p := open(t, *config)
	require.Equal(t, "master", redistest.ReadOnly(t, p).Details["role"])
	require.Equal(t, 1.0, redistest.Value(t, redistest.ReadOnly(t, p), "redis_connected_slaves"))

	master.Freeze(t)
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		r, err := p.Read(ctx)
		return err == nil && r.Details["role"] == "master"
	}, 20*time.Second, 50*time.Millisecond, "the replica that was promoted")
	require.Equal(t, "master", replica.Do(t, "role").([]any)[0])
	require.Equal(t, 1, strings.Count(replica.Do(t, "client", "list").(string), "name=rollwatch"))
}

func TestASentinelThatKnowsNoSuchMasterIsNamed(t *testing.T) {
	sentinel := live.Redis(t).Sentinel(t)
	p := open(t, redis.Config{Name: "main", Sentinel: &redis.Sentinel{Master: "other", Addresses: []string{sentinel.Addr}}})
	_, err := p.Read(t.Context())
	require.ErrorContains(t, err, "sentinel "+sentinel.Addr+`: knows no master "other"`)
}

func TestAClusterIsReadNodeByNode(t *testing.T) {
	nodes := live.RedisCluster(t)
	p := open(t, redis.Config{Name: "main", Cluster: []string{nodes[0].Addr}})
	r := redistest.ReadOnly(t, p)
	require.Empty(t, r.Ill)
	require.Equal(t, 1.0, redistest.Value(t, r, "redis_cluster_state"))
	require.Equal(t, 16384.0, redistest.Value(t, r, "redis_cluster_slots_ok"))
	require.Equal(t, 3.0, redistest.Value(t, r, "redis_cluster_size"))
	for _, node := range nodes {
		require.Equal(t, 1.0, redistest.Value(t, r, "redis_node_up", node.Addr))
		require.Equal(t, 1.0, redistest.Value(t, r, "redis_node_master", node.Addr))
		require.Equal(t, 1, strings.Count(node.Do(t, "client", "list").(string), "name=rollwatch"), "one connection a server")
	}

	nodes[2].Kill(t)
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := p.Read(ctx)
		return err == nil && strings.Contains(r.Ill, "cluster_state is fail") && redistest.By(r, "redis_node_up")[nodes[2].Addr] == 0
	}, 20*time.Second, 50*time.Millisecond)
}

func TestClientsAreCountedByTheirNames(t *testing.T) {
	server := live.Redis(t)
	other := open(t, target(server.URL))
	redistest.ReadOnly(t, other)
	require.Equal(t, 2, redistest.By(redistest.ReadOnly(t, open(t, target(server.URL))), "redis_clients_by_name")["rollwatch"])
}

func TestWhereTheServerIsIsSaidInOneWay(t *testing.T) {
	sentinel := func(master string, addresses ...string) *redis.Config {
		return &redis.Config{Name: "main", Sentinel: &redis.Sentinel{Master: master, Addresses: addresses}}
	}
	both := sentinel("app", "a:26379")
	both.URL = probe.NewSecret("redis://b")
	for path, config := range map[string]*redis.Config{
		"$":                       both,
		"$.sentinel.master":       sentinel("", "a:26379"),
		"$.sentinel.addresses":    sentinel("app"),
		"$.sentinel.addresses[1]": sentinel("app", "a:26379", "b"),
		"$.cluster[0]":            {Name: "main", Cluster: []string{"a"}},
	} {
		faults := config.Validate()
		require.True(t, slices.ContainsFunc(faults, func(f probe.Fault) bool { return f.Path == path }), "%s: %v", path, faults)
	}
	require.Empty(t, sentinel("app", "").Address(), "a variable that is not set leaves the entry out")
	require.Empty(t, (&redis.Config{Name: "main", Cluster: []string{""}}).Address())
}
