package asynq

import (
	"context"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// states are the states of tasks that have a key of their own; aggregating
// tasks are in a key for each group.
var states = [...]struct {
	name string // also of the key
	list bool   // or a sorted set
}{
	{"pending", true},
	{"active", true},
	{"scheduled", false},
	{"retry", false},
	{"archived", false},
	{"completed", false},
}

// Indexes into states.
const (
	pending   = 0
	scheduled = 2
	retry     = 3
	archived  = 4
)

const aggregating = "aggregating"

// The commands that one reading asks for a queue: in the first round its
// states, three counts by time, and the totals, the next task and the groups;
// then at most one of the next task and one for the groups.
const (
	firstRound  = len(states) + 6
	secondRound = 2
)

// overdueGrace is how late a task may be: servers look for due tasks every 5
// seconds by default, by their clock.
const overdueGrace = 10 * time.Second

// maxGroups is the most groups, of all queues together, whose tasks are counted:
// their number has no bound, and each costs a command.
const maxGroups = 5000

// validName says whether a label can hold the name of a queue.
func validName(name string) bool {
	return name != "" && len(name) <= 256 && utf8.ValidString(name)
}

// A queue is one queue, with what every reading needs of it made once.
type queue struct {
	name   string
	base   string // asynq:{<name>}:
	keys   [len(states)]string
	totals []string // processed, failed, paused

	label  []string // of the families by queue
	labels [len(states)][]string
}

func newQueue(name string) *queue {
	q := &queue{name: name, base: "asynq:{" + name + "}:", label: []string{name}}
	q.totals = []string{q.base + "processed", q.base + "failed", q.base + "paused"}
	for i, state := range states {
		q.keys[i] = q.base + state.name
		q.labels[i] = []string{name, state.name}
	}
	return q
}

// A visit is one reading of one queue.
type visit struct {
	*queue
	lengths [len(states)]*goredis.IntCmd
	values  *goredis.SliceCmd // of totals
	next    *goredis.StringCmd
	groups  *goredis.IntCmd
	expired *goredis.IntCmd    // leases
	late    [2]*goredis.IntCmd // scheduled, retry
	since   *goredis.StringCmd
	members *goredis.StringSliceCmd // names of groups
	sizes   []*goredis.IntCmd       // of groups

	affordable  bool // the tasks of its groups can be counted
	aggregating int64
	whole       bool // aggregating is known
	waited      time.Duration
	dated       bool // waited is known
}

// askFirst asks what is always asked.
func (v *visit) askFirst(ctx context.Context, pipe goredis.Pipeliner, now time.Time) {
	for i, state := range states {
		if state.list {
			v.lengths[i] = pipe.LLen(ctx, v.keys[i])
		} else {
			v.lengths[i] = pipe.ZCard(ctx, v.keys[i])
		}
	}
	v.values = pipe.MGet(ctx, v.totals...)
	v.next = pipe.LIndex(ctx, v.keys[pending], -1)
	v.groups = pipe.SCard(ctx, v.base+"groups")
	v.expired = pipe.ZCount(ctx, v.base+"lease", "-inf", strconv.FormatInt(now.Unix(), 10))
	due := strconv.FormatInt(now.Add(-overdueGrace).Unix(), 10)
	v.late[0] = pipe.ZCount(ctx, v.keys[scheduled], "-inf", due)
	v.late[1] = pipe.ZCount(ctx, v.keys[retry], "-inf", due)
}

// afford takes the groups of the queue out of what may still be spent on groups.
func (v *visit) afford(budget int64) (left int64) {
	n := v.groups.Val()
	if v.affordable = v.groups.Err() == nil && n <= budget; v.affordable {
		budget -= n
	}
	return budget
}

// askSecond asks for the next task, and for the groups if there are some.
func (v *visit) askSecond(ctx context.Context, pipe goredis.Pipeliner) {
	if id := v.next.Val(); id != "" {
		v.since = pipe.HGet(ctx, v.base+"t:"+id, "pending_since")
	}
	if v.affordable && v.groups.Val() > 0 {
		v.members = pipe.SMembers(ctx, v.base+"groups")
	}
}

// take takes the answers to what was not asked first.
func (v *visit) take(views redis.Views, now time.Time) {
	v.whole = v.affordable
	if v.members != nil {
		v.whole = views.Note(viewGroups, v.members.Err())
	}
	for _, size := range v.sizes {
		v.whole = views.Note(viewGroups, size.Err()) && v.whole
		v.aggregating += size.Val()
	}

	if !views.Note(viewOldest, v.next.Err()) {
		v.dated = errors.Is(v.next.Err(), goredis.Nil) // none waits
		return
	}
	// The task may have been taken meanwhile: then it is not known.
	if v.since != nil && views.Note(viewOldest, v.since.Err()) {
		since, err := v.since.Int64()
		v.waited, v.dated = max(0, now.Sub(time.Unix(0, since))), err == nil
	}
}

// samples are what the visit found.
func (v *visit) samples(to []probe.Sample, views redis.Views) []probe.Sample {
	size, counted := v.aggregating, v.whole
	for i, cmd := range v.lengths {
		if !views.Note(viewCounts, cmd.Err()) {
			counted = false
			continue
		}
		size += cmd.Val()
		n := float64(cmd.Val())
		to = append(to, queueTasks.Sample(n, v.labels[i]...), tasksEnqueued.Sample(n, v.labels[i]...))
	}
	if v.whole {
		n := float64(v.aggregating)
		to = append(to, queueTasks.Sample(n, v.name, aggregating), tasksEnqueued.Sample(n, v.name, aggregating))
	}
	if counted {
		to = append(to, queueSize.Sample(float64(size), v.label...))
	}
	if views.Note(viewGroups, v.groups.Err()) {
		to = append(to, queueGroups.Sample(float64(v.groups.Val()), v.label...))
	}
	if views.Note(viewLease, v.expired.Err()) {
		to = append(to, orphaned.Sample(float64(v.expired.Val()), v.label...))
	}
	for i, state := range []int{scheduled, retry} {
		if views.Note(viewOverdue, v.late[i].Err()) {
			to = append(to, overdue.Sample(float64(v.late[i].Val()), v.labels[state]...))
		}
	}
	if v.dated {
		to = append(to, latency.Sample(v.waited.Seconds(), v.label...))
	}
	return v.totalSamples(to, views)
}

// totalSamples are the counters, which are not there before the first task, and
// whether the queue is paused.
func (v *visit) totalSamples(to []probe.Sample, views redis.Views) []probe.Sample {
	if !views.Note(viewTotals, v.values.Err()) {
		return to
	}
	values := v.values.Val()
	for i, m := range []*probe.Metric{processed, failed} {
		text, ok := values[i].(string)
		n, err := strconv.ParseUint(text, 10, 64)
		if !ok || err == nil {
			to = append(to, m.Sample(float64(n), v.label...))
		}
	}
	stopped := 0.0
	if values[2] != nil {
		stopped = 1
	}
	return append(to, queuePaused.Sample(stopped, v.label...), pausedTotal.Sample(stopped, v.label...))
}
