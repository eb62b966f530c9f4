package flags

import (
	"context"
	"slices"
	"strings"
	"sync"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// Commands are what a store in Redis is asked, as an ACL names it.
var Commands = []string{"scan", "mget"}

// The parts of a reading of Redis.
const (
	viewScan   = "SCAN"
	viewValues = "values" // MGET
)

// What one reading takes of a store at most.
const (
	maxKeys  = 10_000
	mgetKeys = 100
)

// redisStore keeps flags under ff:<flag>, with overrides for companies and workspaces.
type redisStore struct {
	client goredis.UniversalClient // shared with the server's other probes
	prefix string

	mu      sync.Mutex
	keys    []string // that the last scan found, sorted
	surplus int      // and that were too many
	scan    probe.View
}

// read reads the value of every key that is known: those that a scan found, and
// those of the flags that the registry names.
func (s *redisStore) read(ctx context.Context, registered []string) (found snapshot, err error) {
	s.mu.Lock()
	keys, scan := slices.Clone(s.keys), s.scan
	found.dropped = s.surplus
	s.mu.Unlock()
	for _, name := range registered {
		keys = append(keys, s.prefix+":"+name)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)

	type question struct {
		keys   []string
		values *goredis.SliceCmd
	}
	var questions []*question
	for batch := range redis.Batches(s.client, keys, mgetKeys, func(key string) string { return key }) {
		questions = append(questions, &question{keys: batch})
	}
	err = redis.Pipelined(ctx, s.client, 1, questions, func(pipe goredis.Pipeliner, q *question) {
		q.values = pipe.MGet(ctx, q.keys...)
	})
	if err != nil {
		return snapshot{}, err
	}
	views := redis.NewViews(viewScan, viewValues)
	views[0] = scan
	flags := map[string]*flag{}
	for _, q := range questions {
		if !views.Note(viewValues, q.values.Err()) {
			continue
		}
		for i, value := range q.values.Val() {
			if text, ok := value.(string); ok {
				s.add(flags, q.keys[i], parseValue(text))
			}
		}
	}
	found.flags, found.views = flags, views
	// A denied value is not a flag that was removed.
	found.whole = views[1].State == probe.ViewRead && scan.State != probe.ViewAbsent
	return found, nil
}

// add takes one key and its value.
func (s *redisStore) add(flags map[string]*flag, key string, value state) {
	name, scope, of, ok := parseKey(key, s.prefix)
	if !ok {
		return
	}
	f := flags[name]
	if f == nil {
		f = &flag{name: name, counts: map[override]int{}, stateOf: map[string]state{}}
		flags[name] = f
	}
	f.stateOf[of] = value
	if scope == "" {
		f.global = value
	} else {
		f.counts[override{scope, value}]++
	}
}

// discover scans for the keys of flags.
func (s *redisStore) discover(ctx context.Context) error {
	views := redis.NewViews(viewScan)
	keys, err := s.scanKeys(ctx)
	views.Note(viewScan, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scan = views[0]
	if err != nil {
		if views[0].State == probe.ViewFailed {
			return err
		}
		return nil
	}
	s.surplus = max(0, len(keys)-maxKeys)
	s.keys = keys[:min(len(keys), maxKeys)]
	return nil
}

func (s *redisStore) scanKeys(ctx context.Context) ([]string, error) {
	var keys []string
	err := redis.Scan(ctx, s.client, redis.EscapeGlob(s.prefix)+":*", "string", func(page []string) error {
		for _, key := range page {
			if _, _, _, ok := parseKey(key, s.prefix); ok {
				keys = append(keys, key)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(keys, func(a, b string) int { // the global values first
		if d := strings.Count(a, ":") - strings.Count(b, ":"); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(keys), nil
}
