package bullmq

import (
	"context"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// surveyInterval is how often the job schedulers are counted, and scanEvery after
// how many surveys the keys are scanned: a queue that is new and has a worker is
// known at once by its worker, so the scan is for those without.
const (
	surveyInterval = time.Minute
	scanEvery      = 5
)

// DiscoverInterval is how often Discover should run.
func (r *reader) DiscoverInterval() time.Duration { return surveyInterval }

// Discover does what is too slow for a reading: it looks for queues, and counts
// their job schedulers.
func (r *reader) Discover(ctx context.Context) error {
	if r.surveys%scanEvery == 0 {
		if err := r.findQueues(ctx); err != nil {
			return fmt.Errorf("discover queues: %w", err)
		}
	}
	r.surveys++
	if err := r.survey(ctx); err != nil {
		return fmt.Errorf("job schedulers: %w", err)
	}
	return nil
}

// findQueues looks for the queues of the prefix: the key meta is there from the
// making of a queue to its end. A scan that is denied is a View of the next
// Reading and no error; queues that have workers are known without it.
func (r *reader) findQueues(ctx context.Context) error {
	if r.known.fixed {
		return nil
	}
	views := redis.NewViews(viewScan)
	found, err := r.scan(ctx)
	if views.Note(viewScan, err); err != nil {
		r.known.failed(views[0])
		if views[0].State == probe.ViewFailed {
			return err
		}
		return nil
	}
	r.known.scanned(found, views[0])
	return nil
}

func (r *reader) scan(ctx context.Context) (map[string]bool, error) {
	found := map[string]bool{}
	err := redis.Scan(ctx, r.client, redis.EscapeGlob(r.prefix)+":*:meta", "hash", func(keys []string) error {
		names, err := r.validate(ctx, keys)
		for _, name := range names {
			found[name] = true
		}
		return err
	})
	return found, err
}

// validate answers the names of those keys that are the meta of a queue.
func (r *reader) validate(ctx context.Context, keys []string) ([]string, error) {
	type candidate struct {
		name, key string
		meta      *goredis.SliceCmd
	}
	var candidates []*candidate
	for _, key := range keys {
		name := strings.TrimSuffix(strings.TrimPrefix(key, r.prefix+":"), ":meta")
		// A colon is that of another prefix, which begins as ours does.
		if validName(name) {
			candidates = append(candidates, &candidate{name: name, key: key})
		}
	}
	err := redis.Pipelined(ctx, r.client, 1, candidates, func(pipe goredis.Pipeliner, c *candidate) {
		c.meta = pipe.HMGet(ctx, c.key, metaFields...)
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range candidates {
		// Where the contents are denied, the name must do.
		if c.meta.Err() != nil || isMeta(c.meta.Val()) {
			names = append(names, c.name)
		}
	}
	return names, nil
}

// metaFields of a queue's meta: whether it is paused, two of which one is there
// in the meta of every queue that BullMQ made (how many events it keeps, the
// version), and the rate limit of the whole queue.
var metaFields = []string{"paused", "opts.maxLenEvents", "version", "max"}

// Indexes into metaFields.
const (
	metaPaused = 0
	metaEvents = 1
	metaMax    = 3
)

// isMeta says whether the values of metaFields are those of a queue.
func isMeta(values []any) bool {
	return len(values) == len(metaFields) && (values[1] != nil || values[2] != nil)
}
