package bullmq

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// states are the states of jobs under BullMQ's names, and the key of each.
var states = [...]struct {
	name, key, length string // length is the command that counts them
}{
	{"waiting", "wait", "llen"},
	{"paused", "paused", "llen"},
	{"active", "active", "llen"},
	{"prioritized", "prioritized", "zcard"},
	{"delayed", "delayed", "zcard"},
	{"waiting-children", "waiting-children", "zcard"},
	{"completed", "completed", "zcard"},
	{"failed", "failed", "zcard"},
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

// overdueGrace is how late a delayed job may be: workers move it into line in
// an instant, by their clock.
const overdueGrace = 5 * time.Second

// A visit is one reading of one queue: the numbers as they were answered.
type visit struct {
	*queue
	asked *sheet // while its batch is read

	count    [len(states)]int64
	answered [len(states)]bool // the count is known
	whole    bool              // it is asked everything, and not what is asked every time only
	doubtful bool              // nothing is in it, so that its meta must tell whether it is there
	gone     bool              // nothing of the queue is there
	total    [2]int64          // jobs completed and failed, where a worker counts them
	totalled [2]bool
	inLine   bool // the next job in line is the queue's head
	waited   time.Duration
	dated    bool // waited is known
	crew     crew
	staffed  bool // crew is known
	judged   bool // it is known whether the active jobs are abandoned

	end     *goredis.XInfoStreamCmd // where its stream ends, while that is asked
	read    int                     // events taken in this reading
	lost    bool
	endings []ending
}

// counted says whether all states were answered.
func (v *visit) counted() bool { return !slices.Contains(v.answered[:], false) }

// takeFirst takes the answers to askFirst.
func (v *visit) takeFirst(views redis.Views) {
	var all int64
	for i, cmd := range v.asked.lengths {
		v.answered[i] = views.Note(viewCounts, cmd.Err())
		v.count[i] = cmd.Val()
		all += cmd.Val()
	}
	for i, cmd := range v.asked.totals {
		if views.Note(viewMetrics, cmd.Err()) {
			n, err := cmd.Int64()
			v.total[i], v.totalled[i] = n, err == nil
		}
	}
	v.doubtful = all == 0 && v.counted()
	if v.whole {
		v.describe(views)
	}
}

// describe takes what the queue says of itself, and whether it is there at all.
func (v *visit) describe(views redis.Views) {
	v.described = views.Note(viewMeta, v.asked.meta.Err())
	if !v.described {
		return
	}
	meta := v.asked.meta.Val()
	v.paused = meta[metaPaused] != nil
	v.maxEvents, v.maxRate = lengthOf(meta), rateOf(meta)
	if v.gone = v.doubtful && !isMeta(meta); v.gone {
		v.forgetHead()
	}
}

// forgetHead is for a line that is empty: a job of the same id that comes into it
// later is another one, of a queue that was made anew or by an id of one's own.
func (v *visit) forgetHead() { v.head, v.headDue = "", time.Time{} }

// next is the list at whose end the next job is, if there is one. BullMQ 5
// keeps the line of a paused queue elsewhere.
func (v *visit) next() (state int, ok bool) {
	switch {
	case v.count[waiting] > 0:
		return waiting, true
	case v.count[paused] > 0:
		return paused, true
	default:
		return 0, false
	}
}

// takeSecond takes the answers to askSecond, and says whether the next job is
// one that is not known yet. Versions before 5 put a marker at the end of the
// line, which is no job: BullMQ does not count it either.
func (v *visit) takeSecond(views redis.Views) (unknown bool) {
	if v.doubtful && !v.whole {
		v.describe(views)
	}
	switch {
	case v.count[delayed] == 0:
		v.overdue, v.timed = 0, v.answered[delayed]
	case v.whole:
		v.timed = views.Note(viewOverdue, v.asked.overdue.Err())
		v.overdue = v.asked.overdue.Val()
	}
	state, ok := v.next()
	if !ok || !views.Note(viewOldest, v.asked.next.Err()) {
		return false
	}
	id := v.asked.next.Val()
	if strings.HasPrefix(id, "0:") {
		v.count[state]--
		return false
	}
	if id != v.head {
		v.head, v.headDue = id, time.Time{}
	}
	v.inLine = true
	return v.headDue.IsZero()
}

// takeThird takes the next job, where it was asked for, and how long it has been
// due. That is unknown when it has been taken meanwhile, or cannot be read.
func (v *visit) takeThird(views redis.Views, now time.Time) {
	if _, ok := v.next(); !ok {
		v.forgetHead()
		v.dated = v.counted()
		return
	}
	if job := v.asked.job; job != nil && views.Note(viewOldest, job.Err()) {
		v.headDue, _ = dueSince(job.Val())
	}
	if v.inLine && !v.headDue.IsZero() {
		v.waited, v.dated = max(0, now.Sub(v.headDue)), true
	}
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
		to = append(to, jobWait.Distributed(d.Clone(), v.label()...))
	}
	if d := v.events.run; d != nil {
		to = append(to, jobRun.Distributed(d.Clone(), v.label()...))
	}
	return to
}

// samples are what the visit found.
func (v *visit) samples(to []probe.Sample) []probe.Sample {
	for i, known := range v.answered {
		if known {
			to = append(to, jobCount.Sample(float64(v.count[i]), v.pairs[i][:]...))
		}
	}
	label := v.label()
	if v.described {
		to = append(to, queuePaused.Sample(number(v.paused), label...))
	}
	to = v.finishedSamples(to)
	if v.events.last != "" {
		to = append(to, jobStalled.Sample(v.events.stalled, label...), eventGaps.Sample(v.events.gaps, label...))
	}
	if v.limiterRead {
		to = append(to, rateLimited.Sample(number(v.rateLimited), label...))
	}
	if v.judged {
		to = append(to, abandoned.Sample(float64(v.left()), label...))
	}
	if v.dated {
		to = append(to, oldestWaiting.Sample(v.waited.Seconds(), label...))
	}
	if v.timed {
		late := min(v.overdue, v.count[delayed]) // it may be older than the count
		to = append(to, overdue.Sample(float64(late), label...))
	}
	return to
}

// finishedSamples counts the jobs that came to an end: by BullMQ's own counter
// where a worker keeps it, which knows all of them, else by the events.
func (v *visit) finishedSamples(to []probe.Sample) []probe.Sample {
	for i, m := range []*probe.Metric{jobCompleted, jobFailed} {
		if v.totalled[i] {
			to = append(to, m.Sample(float64(v.total[i]), v.sources[0][:]...))
		} else if v.events.last != "" {
			to = append(to, m.Sample(v.events.finished[i], v.sources[1][:]...))
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
