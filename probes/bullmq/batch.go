package bullmq

import (
	"context"
	"slices"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// The commands that one reading asks for a queue at most: in the first round
// its states, meta and two counters, then what the counts call for.
const (
	firstRound  = len(states) + 3
	secondRound = 2
)

// batchSize is how many queues are read together, from the first question to the
// last: while both sides still have their keys at hand.
const batchSize = 100

// Of more than manyQueues a reading asks what changes seldom of a part only, by
// turns: what a queue says of itself (paused, its limits), the counter of its rate
// limit, how many delayed jobs are late, and events where there were none. What is
// in the queues, who works on them, what came to an end and how long the line
// waits is always asked of all.
const (
	manyQueues = 2000
	turns      = 4
)

// A sheet is the commands that ask one queue. They are made once and asked of one
// queue after the other: to make them anew, and to sweep them up, costs more
// than to read the answers.
type sheet struct {
	lengths [len(states)]*goredis.IntCmd
	meta    *goredis.SliceCmd
	totals  [2]*goredis.StringCmd
	next    *goredis.StringCmd // id of the next job in line
	overdue *goredis.IntCmd
	job     *goredis.SliceCmd // seldom asked, and made when it is
}

// fill makes the commands. due is the score up to which a delayed job is overdue.
func (s *sheet) fill(due *string) {
	ctx := context.Background() // they are sent with another
	for i, state := range states {
		s.lengths[i] = goredis.NewIntCmd(ctx, state.length, nil)
	}
	s.meta = goredis.NewSliceCmd(ctx, "hmget", nil, metaFields[0], metaFields[1], metaFields[2], metaFields[3])
	for i := range s.totals {
		s.totals[i] = goredis.NewStringCmd(ctx, "hget", nil, "count")
	}
	s.next = goredis.NewStringCmd(ctx, "lindex", nil, -1)
	s.overdue = goredis.NewIntCmd(ctx, "zcount", nil, "-inf", due)
}

// ask makes a command of a sheet ask for this key.
func ask(cmd goredis.Cmder, key *string) goredis.Cmder {
	cmd.Args()[1] = key
	cmd.SetErr(nil)
	return cmd
}

// A desk is what the batches are read on, one after the other, and what a reading
// is written on: of 10,000 queues it would be ten megabytes, made and swept up
// each time.
type desk struct {
	sheets  []sheet
	due     string
	visits  []visit
	present []*visit
	samples []probe.Sample // of the last reading
	cmds    []goredis.Cmder
	turn    int
}

// clear makes ready for these queues, and forgets the last ones. It is whose turn
// it is that is asked everything, and who was never asked.
func (d *desk) clear(queues []*queue, now time.Time) {
	clear(d.visits[:cap(d.visits)])
	d.visits = slices.Grow(d.visits[:0], len(queues))[:len(queues)]
	clear(d.present[:cap(d.present)])
	d.present = slices.Grow(d.present[:0], len(queues))
	for i, q := range queues {
		whole := len(queues) <= manyQueues || q.phase == d.turn || !q.described
		d.visits[i].queue, d.visits[i].whole = q, whole
	}
	// The score is the time in milliseconds, and 12 bits more for the order.
	d.due = strconv.FormatInt(now.Add(-overdueGrace).UnixMilli()*4096, 10)
}

// A tour is one reading on its way from batch to batch.
type tour struct {
	views    redis.Views
	server   server
	now      time.Time
	left     budget
	suspects []*visit // with active jobs and no worker
	behind   []*visit // with more events than one page
}

// visit reads the queues, a batch at a time; those that are no longer there are
// left out.
func (r *reader) visit(ctx context.Context, queues []*queue, t *tour) ([]*visit, error) {
	r.desk.clear(queues, t.now)
	for from := 0; from < len(queues); from += batchSize {
		visits := r.desk.visits[from:min(from+batchSize, len(queues))]
		start := len(r.desk.present)
		if err := r.first(ctx, visits, t); err != nil {
			return nil, err
		}
		if err := r.second(ctx, r.desk.present[start:], t); err != nil {
			return nil, err
		}
		for i := range visits {
			visits[i].asked = nil
		}
	}
	r.desk.turn = (r.desk.turn + 1) % turns
	r.desk.present = slices.DeleteFunc(r.desk.present, func(v *visit) bool { return v.gone })
	return r.desk.present, nil
}

// sheets are the commands for a batch. A cluster's client notes in a command
// where its key lives, so there they are asked once.
func (r *reader) sheets() []sheet {
	_, cluster := r.client.(*goredis.ClusterClient)
	if r.desk.sheets == nil || cluster {
		r.desk.sheets = make([]sheet, batchSize)
		for i := range r.desk.sheets {
			r.desk.sheets[i].fill(&r.desk.due)
		}
	}
	return r.desk.sheets
}

// first asks what is always asked, and finds the queues that are there.
func (r *reader) first(ctx context.Context, visits []visit, t *tour) error {
	sheets := r.sheets()
	for i := range visits {
		visits[i].asked = &sheets[i]
	}
	for some := range slices.Chunk(visits, redis.MaxPipeline/firstRound) {
		cmds := r.desk.cmds[:0]
		for i := range some {
			cmds = some[i].askFirst(cmds)
		}
		r.desk.cmds = cmds
		if err := r.send(ctx, cmds); err != nil {
			return err
		}
	}
	for i := range visits {
		v := &visits[i]
		if v.takeFirst(t.views); !v.gone {
			v.crew, v.staffed = t.server.crews[v.name], t.server.staffed
			r.desk.present = append(r.desk.present, v)
		}
	}
	return nil
}

// send sends commands that were made before.
func (r *reader) send(ctx context.Context, cmds []goredis.Cmder) error {
	pipe := r.client.Pipeline()
	if err := pipe.BatchProcess(ctx, cmds...); err != nil {
		return err
	}
	return redis.Exec(ctx, pipe)
}

// askFirst asks what is always asked.
func (v *visit) askFirst(cmds []goredis.Cmder) []goredis.Cmder {
	s := v.asked
	for i, cmd := range s.lengths {
		cmds = append(cmds, ask(cmd, &v.keys[i]))
	}
	if v.whole {
		cmds = append(cmds, ask(s.meta, &v.meta))
	}
	for i, cmd := range s.totals {
		cmds = append(cmds, ask(cmd, &v.counts[i]))
	}
	return cmds
}

// second asks for what there is according to the counts, and what one command
// can ask of many queues: who renews the check, the rate limits, the events.
func (r *reader) second(ctx context.Context, visits []*visit, t *tour) error {
	cmds := r.desk.cmds[:0]
	for _, v := range visits {
		cmds = v.askSecond(cmds)
	}
	suspects := suspected(visits)
	checks := r.each(ctx, suspects, func(v *visit) *string { return &v.check })
	limits := r.each(ctx, whole(visits), func(v *visit) *string { return &v.limiter })
	fresh, following := r.begun(visits)
	pages := r.pages(ctx, following, firstPage)
	for _, q := range slices.Concat(checks, limits) {
		cmds = append(cmds, q.values)
	}
	for _, v := range fresh {
		cmds = append(cmds, v.askEnd(ctx))
	}
	for _, q := range pages {
		cmds = append(cmds, q.read)
	}
	r.desk.cmds = cmds
	if err := r.send(ctx, cmds); err != nil {
		return err
	}
	if err := r.third(ctx, visits, t); err != nil {
		return err
	}
	takeEach(checks, t.views, viewAbandoned, func(v *visit, renewed any) { v.judge(renewed != nil) })
	takeEach(limits, t.views, viewLimiter, func(v *visit, counter any) { v.limit(counter) })
	takeEnd(fresh, t.views)
	t.suspects = append(t.suspects, suspects...)
	t.behind = append(t.behind, takePages(pages, firstPage, &t.left, t.views)...)
	return nil
}

// askSecond asks for what there is according to the counts.
func (v *visit) askSecond(cmds []goredis.Cmder) []goredis.Cmder {
	if line, ok := v.next(); ok { // the tail is next
		cmds = append(cmds, ask(v.asked.next, &v.keys[line]))
	}
	if v.count[delayed] > 0 && v.whole {
		cmds = append(cmds, ask(v.asked.overdue, &v.keys[delayed]))
	}
	if v.doubtful && !v.whole {
		cmds = append(cmds, ask(v.asked.meta, &v.meta))
	}
	return cmds
}

// whole are the visits that ask everything.
func whole(visits []*visit) []*visit {
	all := make([]*visit, 0, len(visits))
	for _, v := range visits {
		if v.whole {
			all = append(all, v)
		}
	}
	return all
}

// third takes what the second round answered, and asks for the next jobs that
// were not next before.
func (r *reader) third(ctx context.Context, visits []*visit, t *tour) error {
	err := redis.Pipelined(ctx, r.client, 1, visits, func(pipe goredis.Pipeliner, v *visit) {
		v.asked.job = nil
		if v.takeSecond(t.views) {
			v.asked.job = pipe.HMGet(ctx, v.base+v.head, jobFields...)
		}
	})
	if err != nil {
		return err
	}
	for _, v := range visits {
		v.takeThird(t.views, t.now)
	}
	return nil
}

// each is one string key of each of some queues, many in one command.
type each struct {
	about  []*visit
	values *goredis.SliceCmd
}

// each are the questions for one string key of each queue.
func (r *reader) each(ctx context.Context, visits []*visit, key func(*visit) *string) []each {
	var questions []each
	for about := range redis.Batches(r.client, visits, batchSize, func(v *visit) string { return *key(v) }) {
		args := append(make([]any, 0, len(about)+1), "mget")
		for _, v := range about {
			args = append(args, key(v))
		}
		questions = append(questions, each{about, goredis.NewSliceCmd(ctx, args...)})
	}
	return questions
}

func takeEach(questions []each, views redis.Views, view string, take func(*visit, any)) {
	for _, q := range questions {
		if !views.Note(view, q.values.Err()) {
			continue
		}
		for i, v := range q.about {
			take(v, q.values.Val()[i])
		}
	}
}
