package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/alicebob/miniredis/v2"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

// startServers starts the databases that the machine has, for real; what it
// has not is said plainly.
func (w *World) startServers(ctx context.Context) error {
	if err := w.startPostgres(ctx); err != nil {
		return err
	}
	return w.startRedis(ctx)
}

// startPostgres starts PostgreSQL, or says that there is none.
func (w *World) startPostgres(ctx context.Context) error {
	postgres, err := server.StartPostgres(ctx)
	if errors.Is(err, server.ErrNotInstalled) {
		w.missing = append(w.missing, "PostgreSQL is not installed: orders are not stored, and no database is read")
		return nil
	}
	if err != nil {
		return err
	}
	w.onClose(postgres.Close)
	w.postgresURL = postgres.URL
	w.servers = append(w.servers, "PostgreSQL on "+postgres.Addr)
	return nil
}

// startRedis starts Redis, or miniredis in its place.
func (w *World) startRedis(ctx context.Context) error {
	redis, err := server.StartRedis(ctx, "--maxmemory-policy", "noeviction")
	if errors.Is(err, server.ErrNotInstalled) {
		return w.startMiniredis()
	}
	if err != nil {
		return err
	}
	w.onClose(redis.Close)
	w.redisAddr = redis.Addr
	w.servers = append(w.servers, "Redis on "+redis.Addr)
	return nil
}

// startMiniredis serves queues where there is no Redis.
func (w *World) startMiniredis() error {
	mini := miniredis.NewMiniRedis()
	if err := mini.StartAddr("127.0.0.1:0"); err != nil {
		return fmt.Errorf("miniredis: %w", err)
	}
	w.onClose(func() error { mini.Close(); return nil })
	w.redisAddr = mini.Addr()
	w.servers = append(w.servers, "miniredis (in this process) on "+w.redisAddr)
	w.missing = append(w.missing, "Redis is not installed: the queues live in miniredis, which has no memory, persistence or clients to read")
	return nil
}
