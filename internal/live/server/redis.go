package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// A Redis is a Redis server.
type Redis struct {
	*Server

	URL string // of database 0, with the password if one was set
}

// StartRedis runs a Redis that saves nothing. The arguments are those of
// redis-server ("--maxmemory", "1mb"), and win over ours.
func StartRedis(ctx context.Context, args ...string) (*Redis, error) {
	program, err := find("redis-server")
	if err != nil {
		return nil, err
	}
	password := argument(args, "--requirepass")
	s, err := Run(ctx, Command{
		Name: "Redis",
		Argv: func(folder, port string) []string {
			return append([]string{program, "--bind", Host, "--port", port, "--dir", folder, "--save", "", "--repl-diskless-sync-delay", "0"}, args...)
		},
		Ready: func(ctx context.Context, addr string) error { return answers(ctx, addr, password) },
		Stop:  syscall.SIGTERM,
	})
	if err != nil {
		return nil, err
	}
	address := url.URL{Scheme: "redis", Host: s.Addr, Path: "/0"}
	if password != "" {
		address.User = url.UserPassword("", password)
	}
	return &Redis{Server: s, URL: address.String()}, nil
}

// StartReplica runs a replica of r, and returns when the two are in step.
func (r *Redis) StartReplica(ctx context.Context, args ...string) (*Redis, error) {
	host, port, err := net.SplitHostPort(r.Addr)
	if err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	replica, err := StartRedis(ctx, append([]string{"--replicaof", host, port}, args...)...)
	if err != nil {
		return nil, err
	}
	err = replica.await(ctx, func(ctx context.Context, addr string) error {
		return linked(ctx, addr, argument(args, "--requirepass"))
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("replica of %s: %w", r.Addr, err), replica.Close())
	}
	return replica, nil
}

func answers(ctx context.Context, addr, password string) error {
	client := redis.NewClient(&redis.Options{Addr: addr, Password: password, MaxRetries: -1})
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

func linked(ctx context.Context, addr, password string) error {
	client := redis.NewClient(&redis.Options{Addr: addr, Password: password, MaxRetries: -1})
	defer client.Close()
	info, err := client.Info(ctx, "replication").Result()
	if err != nil {
		return fmt.Errorf("info: %w", err)
	}
	if !strings.Contains(info, "master_link_status:up") {
		return errors.New("not linked to its primary")
	}
	return nil
}

// argument is the value that follows a name among arguments.
func argument(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}
