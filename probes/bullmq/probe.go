package bullmq

import (
	"context"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// The parts of a reading.
const (
	viewScan       = "SCAN"          // discovery
	viewClients    = "CLIENT LIST"   // workers
	viewInfo       = "INFO"          // eviction policy
	viewCounts     = "counts"        // LLEN, ZCARD
	viewMeta       = "meta"          // HMGET meta
	viewMetrics    = "metrics"       // HGET metrics:*
	viewOldest     = "oldest"        // LINDEX wait, HMGET <job>
	viewOverdue    = "overdue"       // ZCOUNT delayed
	viewAbandoned  = "stalled-check" // MGET stalled-check, LRANGE active, EXISTS <job>:lock
	viewLimiter    = "limiter"       // MGET limiter
	viewEvents     = "events"        // XINFO STREAM, XREAD events
	viewTracks     = "workers"       // HMGET <job> pb timestamp
	viewSchedulers = "repeat"        // ZCARD, ZCOUNT repeat
)

// Commands are what the probe asks, as an ACL names it, on the keys
// <prefix>:*. A refusal costs the part it is for and no other.
var Commands = []string{
	"scan", "client|list", "info", "llen", "zcard", "hmget", "hget", "lindex", "zcount", "mget",
	"xinfo|stream", "xread", "lrange", "exists",
}

// reader is the probe of the queues of one prefix.
type reader struct {
	client    goredis.UniversalClient // shared with the server's other probes
	prefix    string
	maxFailed int
	tracks    map[string]*regexp.Regexp
	known     *known
	surveys   int                        // scans and surveys so far; Discover's own
	surveyed  atomic.Pointer[probe.View] // how the last survey went; nil before the first
	desk      desk                       // Read's own
}

// Close does nothing: the connection is not the probe's own.
func (r *reader) Close() error { return nil }

// Read reads every queue that is known: its state in three rounds of pipelines
// and at most 14 commands a queue, and what can be asked of a hundred queues at
// once (the limiter, the events) by one command for all of them.
func (r *reader) Read(ctx context.Context) (probe.Reading, error) {
	views := redis.NewViews(viewScan, viewClients, viewInfo, viewCounts, viewMeta,
		viewMetrics, viewOldest, viewOverdue, viewAbandoned, viewLimiter, viewEvents, viewTracks, viewSchedulers)
	server, err := r.readServer(ctx, views)
	if err != nil {
		return probe.Reading{}, fmt.Errorf("clients: %w", err)
	}
	r.known.learn(server.crews)
	queues, surplus, scan := r.known.snapshot()
	views[0] = scan
	if survey := r.surveyed.Load(); survey != nil {
		views[len(views)-1] = *survey
	}

	t := &tour{views: views, server: server, now: time.Now(), left: budget{events: eventsPerRead, bytes: bytesPerRead}}
	visits, err := r.visit(ctx, queues, t)
	if err != nil {
		return probe.Reading{}, fmt.Errorf("queues: %w", err)
	}
	if err := r.confirm(ctx, t.suspects, views); err != nil {
		return probe.Reading{}, fmt.Errorf("stalled-check: %w", err)
	}
	if err := r.follow(ctx, t.behind, &t.left, views); err != nil {
		return probe.Reading{}, fmt.Errorf("events: %w", err)
	}
	if err := r.credit(ctx, visits, views); err != nil {
		return probe.Reading{}, fmt.Errorf("workers: %w", err)
	}
	return r.reading(visits, server, surplus, views), nil
}

// A server is what is read once for all queues.
type server struct {
	crews   map[string]crew
	staffed bool // crews is known
	info    redis.Info
}

// readServer asks every server that holds keys: workers are connected to the one
// that has their queue.
func (r *reader) readServer(ctx context.Context, views redis.Views) (server, error) {
	masters, err := redis.Masters(ctx, r.client)
	if err != nil {
		return server{}, err
	}
	s := server{staffed: true, crews: map[string]crew{}}
	for _, master := range masters {
		var clients *goredis.Cmd
		var info *goredis.StringCmd
		err := redis.Pipelined(ctx, master, 2, []struct{}{{}}, func(pipe goredis.Pipeliner, _ struct{}) {
			clients = pipe.Do(ctx, "client", "list", "type", "normal")
			info = pipe.Info(ctx, "memory")
		})
		if err != nil {
			return server{}, err
		}
		list, err := clients.Text()
		if views.Note(viewClients, err) {
			addCrews(s.crews, list, r.prefix, r.tracks)
		} else {
			s.staffed = false
		}
		if views.Note(viewInfo, info.Err()) {
			s.safety(redis.ParseInfo(info.Val()))
		}
	}
	return s, nil
}

// safety takes the eviction policy of one server: one that evicts is enough.
func (s *server) safety(info redis.Info) {
	if safe, ok := s.info.EvictionSafe(); !ok || safe {
		s.info = info
	}
}
