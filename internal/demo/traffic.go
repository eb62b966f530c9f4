package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

const (
	ordersPerSecond = 60
	canaryShare     = 0.25 // of the orders
	usersAtOnce     = 16   // orders under way at the most

	mailsPerSecond = 5
	mailQueue      = "mail"
	mailTask       = "mail:send"
)

// A crowd is the users of the example service: they send orders at a steady
// rate, a share of them to the canary once there is one.
type crowd struct {
	client  *http.Client
	targets chan string
	users   sync.WaitGroup
}

// startCrowd begins the traffic; it ends with ctx. canary may be called to ask
// for the canary's address, which is nil while there is none.
func startCrowd(ctx context.Context, stable string, canary func() *string) *crowd {
	c := &crowd{
		client:  &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: usersAtOnce}},
		targets: make(chan string),
	}
	for range usersAtOnce {
		c.users.Go(func() { c.order(ctx) })
	}
	c.users.Go(func() {
		defer close(c.targets)
		every(ctx, time.Second/ordersPerSecond, func() {
			target := stable
			if url := canary(); url != nil && rand.Float64() < canaryShare {
				target = *url
			}
			select {
			case c.targets <- target:
			default: // all users wait for an answer: a user who cannot order walks away
			}
		})
	})
	return c
}

// order sends orders as they come.
func (c *crowd) order(ctx context.Context) {
	for target := range c.targets {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, target+orderRoute, nil)
		if err != nil {
			continue
		}
		answer, err := c.client.Do(request)
		if err != nil {
			continue // the service is down or the demo ends: users only see an error
		}
		io.Copy(io.Discard, answer.Body) //nolint:errcheck // nothing depends on the body
		answer.Body.Close()
	}
}

// wait returns when the last user has gone; the context must have ended.
func (c *crowd) wait() {
	c.users.Wait()
	c.client.CloseIdleConnections()
}

// A mailroom is the workers of the example: it puts mails in a queue and sends them.
type mailroom struct {
	client *asynq.Client
	server *asynq.Server
	clerk  sync.WaitGroup
	redis  redis.UniversalClient
}

// startMailroom begins to enqueue and to work; enqueuing ends with ctx.
func startMailroom(ctx context.Context, address string) (*mailroom, error) {
	m := &mailroom{redis: redis.NewClient(&redis.Options{Addr: address})}
	m.client = asynq.NewClientFromRedisClient(m.redis)
	m.server = asynq.NewServerFromRedisClient(m.redis, asynq.Config{
		Concurrency: 2,
		Queues:      map[string]int{mailQueue: 1},
		LogLevel:    asynq.FatalLevel,
	})
	handler := asynq.NewServeMux()
	handler.HandleFunc(mailTask, func(context.Context, *asynq.Task) error { return nil })
	if err := m.server.Start(handler); err != nil {
		return nil, errors.Join(fmt.Errorf("example workers: %w", err), m.redis.Close())
	}
	m.clerk.Go(func() {
		every(ctx, time.Second/mailsPerSecond, func() {
			m.client.EnqueueContext(ctx, asynq.NewTask(mailTask, nil), asynq.Queue(mailQueue)) //nolint:errcheck // a mail less
		})
	})
	return m, nil
}

// close ends the workers; the context must have ended.
func (m *mailroom) close() error {
	m.clerk.Wait()
	m.server.Shutdown()
	return m.redis.Close()
}

// every calls f at each period until ctx ends.
func every(ctx context.Context, period time.Duration, f func()) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f()
		}
	}
}
