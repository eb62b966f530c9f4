package alerts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/collector"
)

// queueStalled finds a queue whose jobs wait while its workers finish none, or
// whose active jobs have nobody.
var queueStalled = Gate{
	Name:     "queue_stalled",
	Help:     "jobs wait and workers are there, but none is finished for ten times the usual gap and two minutes at least; or active jobs are abandoned for two minutes",
	Summary:  "A queue stands still.",
	From:     fromProbes,
	Mode:     Enforce,
	Unit:     "queues",
	impact:   "queues of %s stand still",
	Required: true,
	Applies:  func(s *Service) bool { return len(s.Queues) > 0 },
	Eval:     evalQueueStalled,
	alertQL:  func(g Gate, s *Service) string { return observedQL(g, s) + " > 0" },
	drawQL:   observedQL,
}

const (
	leastStall = 2 * time.Minute
	usualGaps  = 10        // so many times the usual time between two jobs that are finished
	usualFrom  = time.Hour // before the rollout, in which the usual is measured
)

// A queueSign is what a series says of a queue.
type queueSign int

// The signs of a queue. A line that is paused or rate limited does not move by intent.
const (
	signWaiting queueSign = iota
	signWorkers
	signFinished // a counter
	signHeld
	signAbandoned
)

// queueSeries are the series of BullMQ and of Asynq, and the values of the label
// state that count; of a series without that label it is empty.
var queueSeries = []struct {
	metric string
	states string
	sign   queueSign
}{
	{"bullmq_job_count", "waiting paused prioritized", signWaiting},
	{"bullmq_queue_workers", "", signWorkers},
	{"bullmq_job_completed_total", "", signFinished},
	{"bullmq_job_failed_total", "", signFinished},
	{"bullmq_queue_paused", "", signHeld},
	{"bullmq_queue_rate_limited", "", signHeld},
	{"bullmq_queue_abandoned_jobs", "", signAbandoned},
	{"asynq_queue_tasks", "pending", signWaiting},
	{"asynq_queue_servers", "", signWorkers},
	{"asynq_tasks_processed_total", "", signFinished},
	{"asynq_queue_paused", "", signHeld},
	{"asynq_queue_orphaned_tasks", "", signAbandoned},
}

// A queueReading is what was read of one queue at one time.
type queueReading struct {
	value    [signAbandoned + 1]float64
	known    [signAbandoned + 1]bool
	finished bool // a job was, since the reading before
}

// moves says whether nothing is wrong with the queue at this reading.
func (r queueReading) moves() bool {
	return !r.known[signWaiting] || !r.known[signWorkers] || !r.known[signFinished] ||
		r.finished || r.value[signWaiting] == 0 || r.value[signWorkers] == 0 || r.value[signHeld] > 0
}

// A queueLog is what was read of one queue, by time in Unix milliseconds.
type queueLog struct {
	name     string // target/queue
	readings map[int64]*queueReading
	earlier  map[int64]*queueReading // before the rollout
	before   float64                 // jobs that were finished in usualFrom before the rollout
}

// A stall is a queue that stands still.
type stall struct {
	queue string
	why   string
	since time.Time // when it began
	fires time.Time // when it had lasted long enough
}

func evalQueueStalled(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	logs, series, err := readQueues(ctx, scene)
	if err != nil {
		return Finding{}, err
	}
	ups, err := scene.probed(ctx, scene.underRollout(), probeUp, queueKinds, scene.Service.Queues)
	if err != nil {
		return Finding{}, err
	}
	var stalls []stall
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		if s, ok := logs[name].stalled(scene); ok {
			stalls = append(stalls, s)
		}
	}
	f := gate.finding(OK)
	f.Limit, f.Observed, f.N = new(0.0), new(float64(len(stalls))), float64(len(logs))
	f.Since, f.Query, f.Evidence = scene.EvidenceFrom(), gate.query(scene.Service), &Evidence{Method: "consecutive"}
	f.observed(times(slices.Concat(series, answered(ups))), scene)
	missing, since, why := queuesMissing(scene, series, ups)
	switch {
	case len(stalls) > 0:
		slices.SortStableFunc(stalls, func(a, b stall) int { return a.fires.Compare(b.fires) })
		f.State, f.Since, f.Message = Firing, stalls[0].fires, stalls[0].String()
		if scene.warmingUp() {
			f.State = WarmingUp
		}
		if more := len(stalls) - 1; more > 0 {
			f.Message += fmt.Sprintf("; and %d more", more)
		}
	case missing != "":
		f.State, f.Since, f.Message = missing, later(since, f.Since), why
	default:
		f.Message = fmt.Sprintf("%g queues move, or have nothing to do", f.N)
	}
	return f, nil
}

func (s stall) String() string { return fmt.Sprintf("%s: %s since %s", s.queue, s.why, clock(s.since)) }

// readQueues reads the queues of the service, and what they finished before the
// rollout; the series are those since it began.
func readQueues(ctx context.Context, scene Scene) (map[string]*queueLog, []collector.Series, error) {
	logs := map[string]*queueLog{}
	var all []collector.Series
	for _, source := range queueSeries {
		span := scene.underRollout()
		if span.From = span.From.Add(-leastStall); source.sign == signFinished {
			span.From = scene.EvidenceFrom().Add(-usualFrom)
		}
		series, err := scene.probed(ctx, span, source.metric, nil, scene.Service.Queues)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range series {
			if state := s.Labels.Get("state"); state != "" && !slices.Contains(strings.Fields(source.states), state) {
				continue
			}
			name := s.Labels.Get("target") + "/" + s.Labels.Get("queue")
			if logs[name] == nil {
				logs[name] = &queueLog{name: name, readings: map[int64]*queueReading{}, earlier: map[int64]*queueReading{}}
			}
			logs[name].add(source.sign, s.Points, scene.EvidenceFrom().UnixMilli())
			all = append(all, collector.Series{Labels: s.Labels, Points: from(scene.EvidenceFrom(), s.Points)})
		}
	}
	return logs, slices.DeleteFunc(all, func(s collector.Series) bool { return len(s.Points) == 0 }), nil
}

// add takes a series; what several say of one sign is added up.
func (q *queueLog) add(sign queueSign, points []collector.Point, started int64) {
	rises := map[int64]float64{}
	if sign == signFinished {
		addRises(rises, points, false)
	}
	for _, p := range points {
		of := q.readings
		if p.T <= started {
			of = q.earlier
			q.before += rises[p.T]
		}
		r := of[p.T]
		if r == nil {
			r = &queueReading{}
			of[p.T] = r
		}
		r.known[sign] = true
		r.value[sign] += p.V
		r.finished = r.finished || rises[p.T] > 0
	}
}

// patience is how long no job may be finished while some wait. It is not known of
// a queue that finished none in the hour before.
func (q *queueLog) patience() (time.Duration, bool) {
	if q.before == 0 {
		return 0, false
	}
	gap := usualFrom / time.Duration(max(1, q.before))
	return max(leastStall, usualGaps*gap), true
}

// stalled finds whether the queue has stood still long enough up to now.
func (q *queueLog) stalled(scene Scene) (stall, bool) {
	at := slices.Sorted(maps.Keys(q.readings))
	if len(at) == 0 || scene.Now.Sub(time.UnixMilli(at[len(at)-1])) > staleAfter(scene.Interval) {
		return stall{}, false
	}
	patience, known := q.patience()
	still := unbroken(q.readings, func(r *queueReading) bool { return known && !r.moves() })
	left := unbroken(q.readings, func(r *queueReading) bool { return r.value[signAbandoned] > 0 })
	// What stood still before is not the rollout's.
	started := scene.EvidenceFrom()
	if since := unbroken(q.earlier, func(r *queueReading) bool { return !r.moves() }); !since.IsZero() && started.Sub(since) >= leastStall-2*scene.Interval {
		still = time.Time{}
	}
	if !unbroken(q.earlier, func(r *queueReading) bool { return r.value[signAbandoned] > 0 }).IsZero() {
		left = time.Time{}
	}
	last := q.readings[at[len(at)-1]]
	for _, s := range []stall{
		{queue: q.name, since: left, fires: left.Add(leastStall), why: fmt.Sprintf("%g active jobs are abandoned", last.value[signAbandoned])},
		{
			queue: q.name, since: still, fires: still.Add(patience),
			why: fmt.Sprintf("%g jobs wait for %g workers, and none was finished", last.value[signWaiting], last.value[signWorkers]),
		},
	} {
		if !s.since.IsZero() && !scene.Now.Before(s.fires) {
			return s, true
		}
	}
	return stall{}, false
}

// unbroken is the first of the readings up to the newest that are all so, zero
// when the newest is not.
func unbroken(readings map[int64]*queueReading, so func(*queueReading) bool) time.Time {
	var since time.Time
	for _, t := range slices.Backward(slices.Sorted(maps.Keys(readings))) {
		if !so(readings[t]) {
			break
		}
		since = time.UnixMilli(t)
	}
	return since
}
