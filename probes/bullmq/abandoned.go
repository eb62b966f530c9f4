package bullmq

import (
	"context"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/redis"
)

// confirmEvery is after how many readings the locks of abandoned jobs are looked
// at again, and maxLocks how many of a queue.
const (
	confirmEvery = 20
	maxLocks     = 100
)

// suspected are the queues whose active jobs nobody may work on: no worker is
// connected. Whether the key that workers renew is gone as well is to be asked.
func suspected(visits []*visit) []*visit {
	var suspects []*visit
	for _, v := range visits {
		switch {
		case !v.answered[active]:
		case v.count[active] > 0 && v.crew.workers == 0:
			suspects = append(suspects, v)
		default:
			v.judge(true)
		}
	}
	return suspects
}

// judge takes whether somebody works on the queue.
func (v *visit) judge(served bool) {
	v.judged = true
	if served {
		v.unserved, v.locked, v.suspects = 0, 0, nil
		return
	}
	v.unserved++
}

// confirm counts the jobs without a lock of queues that look abandoned: no worker
// is connected, and the key that workers renew is gone. Once may be the moment
// between two renewals; twice in a row is no moment. Their ids are read at the
// first suspicion, their locks at the second. A worker whose connection
// has no name, and that does not look for stalled jobs, has locks.
func (r *reader) confirm(ctx context.Context, suspects []*visit, views redis.Views) error {
	type question struct {
		about *visit
		ids   *goredis.StringSliceCmd
		locks *goredis.IntCmd
	}
	var questions []*question
	for _, v := range suspects {
		if step := v.unserved % confirmEvery; step == 1 || step == 2 {
			questions = append(questions, &question{about: v})
		}
	}
	err := redis.Pipelined(ctx, r.client, 1, questions, func(pipe goredis.Pipeliner, q *question) {
		if v := q.about; v.unserved%confirmEvery == 1 {
			q.ids = pipe.LRange(ctx, v.keys[active], 0, maxLocks-1)
		} else if len(v.suspects) > 0 {
			q.locks = pipe.Exists(ctx, v.suspects...)
		}
	})
	if err != nil {
		return err
	}
	for _, q := range questions {
		q.about.suspect(q.ids, q.locks, views)
	}
	return nil
}

func (v *visit) suspect(ids *goredis.StringSliceCmd, locks *goredis.IntCmd, views redis.Views) {
	if ids != nil && views.Note(viewAbandoned, ids.Err()) {
		v.suspects = v.suspects[:0]
		for _, id := range ids.Val() {
			v.suspects = append(v.suspects, v.base+id+":lock")
		}
	}
	if locks != nil && views.Note(viewAbandoned, locks.Err()) {
		v.locked = locks.Val()
	}
}

// left is how many active jobs nobody works on.
func (v *visit) left() int64 {
	if v.unserved < 2 {
		return 0
	}
	return max(0, v.count[active]-v.locked)
}
