package asynq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// The parts of a reading.
const (
	viewQueues     = "queues"     // SMEMBERS asynq:queues
	viewServers    = "servers"    // ZRANGE asynq:servers, GET <server>
	viewSchedulers = "schedulers" // ZRANGE asynq:schedulers, LRANGE <scheduler>
	viewInfo       = "INFO"       // eviction policy
	viewCounts     = "counts"     // LLEN, ZCARD
	viewTotals     = "totals"     // MGET processed failed paused
	viewOldest     = "oldest"     // LINDEX pending, HGET <task>
	viewLease      = "lease"      // ZCOUNT lease
	viewOverdue    = "overdue"    // ZCOUNT scheduled, retry
	viewGroups     = "groups"     // SCARD, SMEMBERS groups, ZCARD <group>
)

// Commands are what the probe asks, as an ACL names it, on the keys asynq:*. A
// refusal costs the part it is for and no other.
var Commands = []string{
	"smembers", "zrange", "zcount", "info", "get", "llen", "zcard", "mget", "lindex", "scard", "hget", "lrange",
}

// The most that one reading takes: what a Redis can answer within its deadline.
const (
	maxQueues     = 20_000
	maxServers    = 500
	maxSchedulers = 50
	maxEntries    = 1000 // of one scheduler
)

// reader is the probe of the Asynq queues of one Redis.
type reader struct {
	client goredis.UniversalClient // shared with the server's other probes
	known  map[string]*queue
}

// Close does nothing: the connection is not the probe's own.
func (r *reader) Close() error { return nil }

// Read reads every queue, in at most four rounds of pipelines and 14 commands a
// queue, besides one for each group that is being aggregated.
func (r *reader) Read(ctx context.Context) (probe.Reading, error) {
	views := redis.NewViews(viewQueues, viewServers, viewSchedulers, viewInfo, viewCounts,
		viewTotals, viewOldest, viewLease, viewOverdue, viewGroups)
	now := time.Now()
	site, err := r.readSite(ctx, views, now)
	if err != nil {
		return probe.Reading{}, fmt.Errorf("queues: %w", err)
	}
	fleet, err := r.readFleet(ctx, site, views)
	if err != nil {
		return probe.Reading{}, fmt.Errorf("servers: %w", err)
	}
	plan, err := r.readPlan(ctx, site, views, now)
	if err != nil {
		return probe.Reading{}, fmt.Errorf("schedulers: %w", err)
	}
	visits, err := r.visit(ctx, r.queues(site.names), now)
	if err != nil {
		return probe.Reading{}, fmt.Errorf("queues: %w", err)
	}
	return reading(visits, site, fleet, plan, views, now), nil
}

// A site is what is read once for all queues.
type site struct {
	names      []string // of queues
	listed     bool     // names is known
	servers    []string // keys of the servers alive
	manned     bool     // servers is known
	schedulers []string // keys of the schedulers alive
	planned    bool     // schedulers is known
	info       redis.Info
}

func (r *reader) readSite(ctx context.Context, views redis.Views, now time.Time) (site, error) {
	var s site
	var names, alive, planning *goredis.StringSliceCmd
	var info *goredis.StringCmd
	since := strconv.FormatInt(now.Unix(), 10) // scores are the times at which they expire
	err := redis.Pipelined(ctx, r.client, 4, []struct{}{{}}, func(pipe goredis.Pipeliner, _ struct{}) {
		names = pipe.SMembers(ctx, "asynq:queues")
		living := func(key string, most int64) *goredis.StringSliceCmd {
			return pipe.ZRangeArgs(ctx, goredis.ZRangeArgs{Key: key, ByScore: true, Start: since, Stop: "+inf", Count: most})
		}
		alive, planning = living("asynq:servers", maxServers), living("asynq:schedulers", maxSchedulers)
		info = pipe.Info(ctx, "memory")
	})
	if err != nil {
		return site{}, err
	}
	if s.listed = views.Note(viewQueues, names.Err()); s.listed {
		s.names = slices.DeleteFunc(names.Val(), func(name string) bool { return !validName(name) })
		slices.Sort(s.names)
	}
	if s.manned = views.Note(viewServers, alive.Err()); s.manned {
		s.servers = alive.Val()
	}
	if s.planned = views.Note(viewSchedulers, planning.Err()); s.planned {
		s.schedulers = planning.Val()
	}
	if views.Note(viewInfo, info.Err()) {
		s.info = redis.ParseInfo(info.Val())
	}
	return s, nil
}

// A fleet is the servers alive together.
type fleet struct {
	servers, workers, busy int
	by                     map[string]int // servers that take tasks, by queue
	known                  bool
}

func (r *reader) readFleet(ctx context.Context, s site, views redis.Views) (fleet, error) {
	type server struct {
		key  string
		info *goredis.StringCmd
	}
	alive := make([]*server, len(s.servers))
	for i, key := range s.servers {
		alive[i] = &server{key: key}
	}
	err := redis.Pipelined(ctx, r.client, 1, alive, func(pipe goredis.Pipeliner, s *server) {
		s.info = pipe.Get(ctx, s.key)
	})
	if err != nil {
		return fleet{}, err
	}
	f := fleet{by: map[string]int{}, known: s.manned}
	for _, server := range alive {
		if !views.Note(viewServers, server.info.Err()) {
			f.known = f.known && errors.Is(server.info.Err(), goredis.Nil) // it has just left
			continue
		}
		info, err := parseServerInfo([]byte(server.info.Val()))
		if !views.Note(viewServers, err) {
			f.known = false
			continue
		}
		f.servers++
		f.workers += info.concurrency
		f.busy += info.busy
		for _, name := range info.queues {
			if info.active {
				f.by[name]++
			}
		}
	}
	return f, nil
}

// A plan is what the schedulers alive will enqueue.
type plan struct {
	entries, overdue int
	known            bool
}

// entryGrace is how late an entry may be: a scheduler writes its entries down
// every 10 seconds, with the times at which they are next.
const entryGrace = 30 * time.Second

func (r *reader) readPlan(ctx context.Context, s site, views redis.Views, now time.Time) (plan, error) {
	p := plan{known: s.planned}
	type scheduler struct {
		key     string
		entries *goredis.StringSliceCmd
	}
	var alive []*scheduler
	for _, key := range s.schedulers {
		alive = append(alive, &scheduler{key: key})
	}
	err := redis.Pipelined(ctx, r.client, 1, alive, func(pipe goredis.Pipeliner, s *scheduler) {
		s.entries = pipe.LRange(ctx, s.key, 0, maxEntries-1)
	})
	if err != nil {
		return plan{}, err
	}
	for _, s := range alive {
		p.known = views.Note(viewSchedulers, s.entries.Err()) && p.known
		for _, entry := range s.entries.Val() {
			next, err := parseNext([]byte(entry))
			if !views.Note(viewSchedulers, err) {
				p.known = false
				continue
			}
			p.entries++
			if !next.IsZero() && now.Sub(next) > entryGrace {
				p.overdue++
			}
		}
	}
	return p, nil
}

// queues are the queues with these names, in their order. Those that are no
// longer there are forgotten.
func (r *reader) queues(names []string) []*queue {
	known := make(map[string]*queue, len(names))
	var queues []*queue
	for _, name := range names[:min(len(names), maxQueues)] {
		q := r.known[name]
		if q == nil {
			q = newQueue(name)
		}
		known[name] = q
		queues = append(queues, q)
	}
	r.known = known
	return queues
}

// visit reads the queues.
func (r *reader) visit(ctx context.Context, queues []*queue, now time.Time) ([]*visit, error) {
	visits := make([]*visit, len(queues))
	for i, q := range queues {
		visits[i] = &visit{queue: q}
	}
	err := redis.Pipelined(ctx, r.client, firstRound, visits, func(pipe goredis.Pipeliner, v *visit) {
		v.askFirst(ctx, pipe, now)
	})
	if err != nil {
		return nil, err
	}
	budget := int64(maxGroups)
	for _, v := range visits {
		budget = v.afford(budget)
	}
	err = redis.Pipelined(ctx, r.client, secondRound, visits, func(pipe goredis.Pipeliner, v *visit) {
		v.askSecond(ctx, pipe)
	})
	if err != nil {
		return nil, err
	}
	type group struct {
		of   *visit
		name string
	}
	var groups []group
	for _, v := range visits {
		if v.members != nil {
			for _, name := range v.members.Val() {
				groups = append(groups, group{v, name})
			}
		}
	}
	err = redis.Pipelined(ctx, r.client, 1, groups, func(pipe goredis.Pipeliner, g group) {
		g.of.sizes = append(g.of.sizes, pipe.ZCard(ctx, g.of.base+"g:"+g.name))
	})
	return visits, err
}
