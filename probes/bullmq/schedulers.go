package bullmq

import (
	"context"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// A schedule is what a queue's job schedulers are like, as the last survey found
// them. They change seldom, so they are surveyed beside the readings.
type schedule struct{ all, overdue int64 }

// survey counts the schedulers, and those whose next job should have been made:
// it is made when the job before it is taken, so a line that stands still, or
// has no worker, makes them overdue.
func (r *reader) survey(ctx context.Context) error {
	queues, _, _ := r.known.snapshot()
	type question struct {
		about        *queue
		all, overdue *goredis.IntCmd
	}
	questions := make([]*question, len(queues))
	for i, q := range queues {
		questions[i] = &question{about: q}
	}
	due := strconv.FormatInt(time.Now().Add(-overdueGrace).UnixMilli(), 10)
	err := redis.Pipelined(ctx, r.client, 2, questions, func(pipe goredis.Pipeliner, q *question) {
		q.all = pipe.ZCard(ctx, q.about.base+"repeat")
		q.overdue = pipe.ZCount(ctx, q.about.base+"repeat", "-inf", due)
	})
	if err != nil {
		return err
	}
	views := redis.NewViews(viewSchedulers)
	for _, q := range questions {
		var found *schedule // unknown
		if views.Note(viewSchedulers, q.all.Err()) && views.Note(viewSchedulers, q.overdue.Err()) {
			found = &schedule{all: q.all.Val(), overdue: q.overdue.Val()}
		}
		q.about.schedule.Store(found)
	}
	r.surveyed.Store(&views[0])
	return nil
}

// scheduleSamples are the schedulers of a queue that the last survey knew.
func (v *visit) scheduleSamples(to []probe.Sample) []probe.Sample {
	if s := v.schedule.Load(); s != nil {
		to = append(to, schedulers.Sample(float64(s.all), v.label()...), overdueSchedulers.Sample(float64(s.overdue), v.label()...))
	}
	return to
}
