package redis

import (
	"errors"
	"fmt"
	"sync"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Links are the connections to the Redis servers of a configuration: one
// client with one connection for each, shared by all probes that read it.
type Links struct {
	configs map[string]*Config

	mu      sync.Mutex
	clients map[string]goredis.UniversalClient
	closed  bool
}

// NewLinks makes the Links of these targets. A client is made when it is first
// asked for, and dials when it is first used.
//
// It silences the log of go-redis, which writes to stderr: every fault of a
// connection is in the error of the Read that met it.
func NewLinks(configs ...*Config) *Links {
	logging.Disable()
	l := &Links{configs: map[string]*Config{}, clients: map[string]goredis.UniversalClient{}}
	for _, c := range configs {
		l.configs[c.Name] = c
	}
	return l
}

// Redis is the client of the target with that name.
func (l *Links) Redis(name string) (goredis.UniversalClient, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, goredis.ErrClosed
	}
	if client, ok := l.clients[name]; ok {
		return client, nil
	}
	config, ok := l.configs[name]
	if !ok {
		return nil, fmt.Errorf("no redis target is named %q", name)
	}
	client, err := config.client()
	if err != nil {
		return nil, fmt.Errorf("redis %s: %w", name, err)
	}
	l.clients[name] = client
	return client, nil
}

// Close closes every connection. The probes that used them answer errors from
// then on.
func (l *Links) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var errs []error
	for name, client := range l.clients {
		if err := client.Close(); err != nil {
			errs = append(errs, fmt.Errorf("redis %s: %w", name, err))
		}
	}
	clear(l.clients)
	return errors.Join(errs...)
}
