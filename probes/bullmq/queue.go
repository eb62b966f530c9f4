package bullmq

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// states are the states of jobs under BullMQ's names, and the key of each.
var states = [...]struct {
	name, key string
	list      bool // or a sorted set
}{
	{"waiting", "wait", true},
	{"paused", "paused", true},
	{"active", "active", true},
	{"prioritized", "prioritized", false},
	{"delayed", "delayed", false},
	{"waiting-children", "waiting-children", false},
	{"completed", "completed", false},
	{"failed", "failed", false},
}

// Indexes into states.
const (
	waiting     = 0
	paused      = 1
	active      = 2
	prioritized = 3
	delayed     = 4
	failed      = 7
)

// The commands that one reading asks for a queue at most: in the first round
// its states, meta and two counters, then what the counts call for.
const (
	firstRound  = len(states) + 3
	secondRound = 2
)

// overdueGrace is how late a delayed job may be: workers move it into line in
// an instant, by their clock.
const overdueGrace = 5 * time.Second

// A visit is one reading of one queue: the commands as they were asked, and the
// numbers as they were answered.
type visit struct {
	*queue
	lengths [len(states)]*goredis.IntCmd
	meta    *goredis.SliceCmd
	totals  [2]*goredis.StringCmd
	next    *goredis.StringCmd // id of the next job in line
	overdue *goredis.IntCmd
	job     *goredis.SliceCmd
	stream  *goredis.XInfoStreamCmd

	count   [len(states)]int64
	counted bool // all states were answered
	gone    bool // nothing of the queue is there
	waited  time.Duration
	dated   bool // waited is known
	crew    crew
	staffed bool // crew is known
	judged  bool // it is known whether the active jobs are abandoned

	limiterRead bool
	rateLimited bool

	maxEvents int // that its stream keeps; 0 when unknown
	read      int // events taken in this reading
	lost      bool
	endings   []ending
}

// askFirst asks what is always asked.
func (v *visit) askFirst(ctx context.Context, pipe goredis.Pipeliner) {
	for i, state := range states {
		if state.list {
			v.lengths[i] = pipe.LLen(ctx, v.keys[i])
		} else {
			v.lengths[i] = pipe.ZCard(ctx, v.keys[i])
		}
	}
	v.meta = pipe.HMGet(ctx, v.queue.meta, metaFields...)
	for i, key := range v.queue.counts {
		v.totals[i] = pipe.HGet(ctx, key, "count")
	}
}

// takeFirst takes the answers to askFirst.
func (v *visit) takeFirst(views redis.Views) {
	v.counted = true
	var all int64
	for i, cmd := range v.lengths {
		if !views.Note(viewCounts, cmd.Err()) {
			v.counted = false
		}
		v.count[i] = cmd.Val()
		all += cmd.Val()
	}
	known := views.Note(viewMeta, v.meta.Err())
	if known {
		v.maxEvents = lengthOf(v.meta.Val())
	}
	v.gone = known && v.counted && all == 0 && !isMeta(v.meta.Val())
}

// askSecond asks for what there is according to the counts.
func (v *visit) askSecond(ctx context.Context, pipe goredis.Pipeliner, now time.Time) {
	// BullMQ 5 keeps the line of a paused queue elsewhere. The tail is next.
	switch {
	case v.count[waiting] > 0:
		v.next = pipe.LIndex(ctx, v.keys[waiting], -1)
	case v.count[paused] > 0:
		v.next = pipe.LIndex(ctx, v.keys[paused], -1)
	}
	if v.count[delayed] > 0 {
		// The score is the time in milliseconds, and 12 bits more for the order.
		due := now.Add(-overdueGrace).UnixMilli() * 4096
		v.overdue = pipe.ZCount(ctx, v.keys[delayed], "-inf", strconv.FormatInt(due, 10))
	}
}

// takeSecond takes the id of the next job. Versions before 5 put a marker at
// the end of the line, which is no job: BullMQ does not count it either.
func (v *visit) takeSecond(views redis.Views) (id string) {
	if v.next == nil || !views.Note(viewOldest, v.next.Err()) {
		return ""
	}
	if strings.HasPrefix(v.next.Val(), "0:") {
		line := waiting
		if v.count[waiting] == 0 {
			line = paused
		}
		v.count[line]--
		return ""
	}
	if v.next.Val() == v.head && !v.headDue.IsZero() {
		return "" // it has not moved
	}
	v.head, v.headDue = v.next.Val(), time.Time{}
	return v.head
}

// takeThird takes the next job, and how long it has been due. That is unknown
// when it has been taken meanwhile, or cannot be read.
func (v *visit) takeThird(views redis.Views, now time.Time) {
	if v.count[waiting]+v.count[paused] == 0 {
		v.dated = v.counted
		return
	}
	if v.job != nil && views.Note(viewOldest, v.job.Err()) {
		v.headDue, _ = dueSince(v.job.Val())
	}
	if v.next == nil || v.next.Err() != nil || v.next.Val() != v.head || v.headDue.IsZero() {
		return
	}
	v.waited, v.dated = max(0, now.Sub(v.headDue)), true
}

// jobFields of a job that dueSince understands.
var jobFields = []string{"timestamp", "delay", "opts"}

// dueSince is the moment from which a job in line could have been taken. When a
// delayed job comes into line BullMQ sets its delay to 0, but not in its opts.
func dueSince(fields []any) (since time.Time, ok bool) {
	text := func(i int) string { s, _ := fields[i].(string); return s }
	if len(fields) != len(jobFields) {
		return time.Time{}, false
	}
	added, err := strconv.ParseInt(text(0), 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	delay, _ := strconv.ParseFloat(text(1), 64)
	var opts struct {
		Delay float64 `json:"delay"`
	}
	if json.Unmarshal([]byte(text(2)), &opts) == nil {
		delay = max(delay, opts.Delay)
	}
	return time.UnixMilli(added + int64(delay)), true
}

// timeSamples are how long the jobs waited and ran.
func (v *visit) timeSamples(to []probe.Sample) []probe.Sample {
	if d := v.events.wait; d != nil {
		to = append(to, jobWait.Distributed(d.Clone(), v.label...))
	}
	if d := v.events.run; d != nil {
		to = append(to, jobRun.Distributed(d.Clone(), v.label...))
	}
	return to
}

// samples are what the visit found.
func (v *visit) samples(to []probe.Sample, views redis.Views) []probe.Sample {
	for i, cmd := range v.lengths {
		if cmd.Err() == nil {
			to = append(to, jobCount.Sample(float64(v.count[i]), v.labels[i]...))
		}
	}
	if v.meta.Err() == nil {
		to = append(to, queuePaused.Sample(number(v.meta.Val()[0] != nil), v.label...))
	}
	to = v.finishedSamples(to, views)
	if v.events.last != "" {
		to = append(to, jobStalled.Sample(v.events.stalled, v.label...), eventGaps.Sample(v.events.gaps, v.label...))
	}
	if v.limiterRead {
		to = append(to, rateLimited.Sample(number(v.rateLimited), v.label...))
	}
	if v.judged {
		to = append(to, abandoned.Sample(float64(v.left()), v.label...))
	}
	if v.dated {
		to = append(to, oldestWaiting.Sample(v.waited.Seconds(), v.label...))
	}
	if v.overdue == nil && v.lengths[delayed].Err() == nil {
		to = append(to, overdue.Sample(0, v.label...))
	} else if v.overdue != nil && views.Note(viewOverdue, v.overdue.Err()) {
		to = append(to, overdue.Sample(float64(v.overdue.Val()), v.label...))
	}
	return to
}

// finishedSamples counts the jobs that came to an end: by BullMQ's own counter
// where a worker keeps it, which knows all of them, else by the events.
func (v *visit) finishedSamples(to []probe.Sample, views redis.Views) []probe.Sample {
	for i, m := range []*probe.Metric{jobCompleted, jobFailed} {
		if views.Note(viewMetrics, v.totals[i].Err()) {
			if n, err := v.totals[i].Int64(); err == nil {
				to = append(to, m.Sample(float64(n), v.name, "metrics"))
				continue
			}
		}
		if v.events.last != "" {
			to = append(to, m.Sample(v.events.finished[i], v.name, "events"))
		}
	}
	return to
}

func number(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
