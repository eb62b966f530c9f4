package bullmq

import (
	"context"
	"strconv"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/redis"
)

// stopped is what BullMQ writes into the counter when a worker or a person
// stops a queue for a time: JavaScript's greatest integer.
const stopped = 1<<53 - 1

// limited reads how many jobs were begun within the rate limit's current window,
// and finds the queues that may begin no more.
func (r *reader) limited(ctx context.Context, visits []*visit, views redis.Views) error {
	return r.each(ctx, visits, views, viewLimiter, func(v *visit) string { return v.base + "limiter" }, func(v *visit, counter any) {
		text, _ := counter.(string)
		begun, _ := strconv.ParseInt(text, 10, 64)
		v.limit(begun)
	})
}

// limit judges the counter. The limit of the whole queue is in its meta. That of a
// worker's own option is written nowhere: the most that was ever begun stands for it,
// while jobs wait.
func (v *visit) limit(begun int64) {
	v.limiterRead = true
	if begun >= stopped {
		v.rateLimited = true
		return
	}
	if most := v.maxRate(); most > 0 {
		v.rateLimited = begun >= most
		return
	}
	v.mostBegun = max(v.mostBegun, begun)
	waits := v.count[waiting]+v.count[paused]+v.count[prioritized] > 0
	v.rateLimited = begun > 0 && begun == v.mostBegun && waits
}

// maxRate is the limit of the whole queue, or 0.
func (v *visit) maxRate() int64 {
	if v.meta.Err() != nil {
		return 0
	}
	text, _ := v.meta.Val()[metaMax].(string)
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

// each reads one string key of each queue, many in one command.
func (r *reader) each(
	ctx context.Context, visits []*visit, views redis.Views, view string, key func(*visit) string, take func(*visit, any),
) error {
	type question struct {
		about  []*visit
		values *goredis.SliceCmd
	}
	var questions []*question
	for about := range redis.Batches(r.client, visits, mgetKeys, key) {
		questions = append(questions, &question{about: about})
	}
	err := redis.Pipelined(ctx, r.client, 1, questions, func(pipe goredis.Pipeliner, q *question) {
		keys := make([]string, len(q.about))
		for i, v := range q.about {
			keys[i] = key(v)
		}
		q.values = pipe.MGet(ctx, keys...)
	})
	if err != nil {
		return err
	}
	for _, q := range questions {
		if !views.Note(view, q.values.Err()) {
			continue
		}
		for i, v := range q.about {
			take(v, q.values.Val()[i])
		}
	}
	return nil
}
