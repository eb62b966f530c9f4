package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// SentinelMaster is the name under which a Sentinel of StartSentinel knows its master.
const SentinelMaster = "app"

// StartSentinel runs a Sentinel that alone decides over r and its replicas,
// after half a second of silence.
func (r *Redis) StartSentinel(ctx context.Context) (*Server, error) {
	program, err := find("redis-server")
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(r.Addr)
	if err != nil {
		return nil, fmt.Errorf("sentinel: %w", err)
	}
	return Run(ctx, Command{
		Name: "Sentinel",
		Argv: func(folder, listen string) []string {
			file := filepath.Join(folder, "sentinel.conf")
			text := fmt.Sprintf("bind %s\nport %s\ndir %s\nsentinel monitor %s %s %s 1\nsentinel down-after-milliseconds %[4]s 500\nsentinel failover-timeout %[4]s 3000\n",
				Host, listen, folder, SentinelMaster, host, port)
			_ = os.WriteFile(file, []byte(text), 0o600) // without it the start fails, and says so
			return []string{program, file, "--sentinel"}
		},
		Ready: func(ctx context.Context, addr string) error { return answers(ctx, addr, "") },
		Stop:  syscall.SIGTERM,
	})
}

// clusterSlots is how many slots a cluster has.
const clusterSlots = 16384

// StartCluster runs a cluster of that many masters, and returns when it serves.
func StartCluster(ctx context.Context, masters int) ([]*Redis, error) {
	var nodes []*Redis
	var firstBus string
	fail := func(err error) ([]*Redis, error) {
		for _, node := range nodes {
			err = errors.Join(err, node.Close())
		}
		return nil, fmt.Errorf("cluster: %w", err)
	}
	for i := range masters {
		bus, err := FreePort()
		if err != nil {
			return fail(err)
		}
		node, err := StartRedis(ctx, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", bus)
		if err != nil {
			return fail(err)
		}
		nodes = append(nodes, node)
		if i == 0 {
			firstBus = bus
		}
		client := redis.NewClient(&redis.Options{Addr: node.Addr})
		first, last := i*clusterSlots/masters, (i+1)*clusterSlots/masters-1
		err = client.ClusterAddSlotsRange(ctx, first, last).Err()
		if host, port, splitErr := net.SplitHostPort(nodes[0].Addr); i > 0 {
			err = errors.Join(err, splitErr, client.Do(ctx, "cluster", "meet", host, port, firstBus).Err())
		}
		if err = errors.Join(err, client.Close()); err != nil {
			return fail(err)
		}
	}
	for _, node := range nodes {
		if err := node.await(ctx, func(ctx context.Context, addr string) error { return clustered(ctx, addr, masters) }); err != nil {
			return fail(err)
		}
	}
	return nodes, nil
}

func clustered(ctx context.Context, addr string, masters int) error {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	defer client.Close()
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return fmt.Errorf("cluster info: %w", err)
	}
	if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_size:%d", masters)) {
		return errors.New("the cluster does not serve yet")
	}
	return nil
}
