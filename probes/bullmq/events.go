package bullmq

import (
	"context"
	"errors"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// What one reading takes from the streams of all queues at most, so that a storm
// of events costs the server a few megabytes and no more.
const (
	firstPage      = 50     // events of a queue in the first round
	nextPage       = 500    // and in each that follows
	eventsPerRead  = 20_000 // of all queues
	bytesPerRead   = 8 << 20
	pagesInARow    = 20   // rounds at most
	streamsPerRead = 100  // streams that one XREAD asks for
	maxUnderWay    = 1000 // jobs of a queue whose times are kept between two events
	maxTimed       = 200  // queues that have histograms
)

// timeBounds are in seconds: jobs wait and run for milliseconds or hours.
var timeBounds = []float64{0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 7200}

// A follower follows the stream in which BullMQ tells what happens to the jobs
// of one queue. It counts from the moment from which it follows.
type follower struct {
	last     string // id of the newest event that was taken; empty before the first
	quiet    bool   // it had no news when it was last read
	finished [2]float64
	stalled  float64
	gaps     float64 // times that events were not seen
	underWay map[string]times
	wait     *probe.Distribution // nil until a job has been timed
	run      *probe.Distribution
}

// times of a job, in milliseconds of the server's clock; 0 is unknown.
type times struct{ waiting, active int64 }

// An ending is a job that came to its end in this reading.
type ending struct {
	id     string
	failed bool
}

// follow takes what more has happened since the last reading in the queues that
// had more than a page. Those whose stream is longer than may be read at once are
// followed from its end on, and the gap counted.
func (r *reader) follow(ctx context.Context, behind []*visit, left *budget, views redis.Views) (err error) {
	for range pagesInARow - 1 {
		if len(behind) == 0 || left.spent() {
			break
		}
		if behind, err = r.page(ctx, behind, nextPage, left, views); err != nil {
			return err
		}
	}
	return r.skip(ctx, behind, views)
}

// budget is what may still be read.
type budget struct{ events, bytes int }

func (b *budget) spent() bool { return b.events <= 0 || b.bytes <= 0 }

// begun tells the queues whose stream is followed already from those of which
// the end must be found first. Of many, those without news are left out until
// their turn, unless what came to an end is counted by their events.
func (r *reader) begun(visits []*visit) (fresh, following []*visit) {
	following = make([]*visit, 0, len(visits))
	for _, v := range visits {
		counts := v.totalled != [2]bool{true, true} || len(r.tracks) > 0
		switch {
		case v.events.last == "":
			fresh = append(fresh, v)
		case v.whole || counts || !v.events.quiet:
			following = append(following, v)
		}
	}
	return fresh, following
}

// askEnd makes the command that asks where the stream ends.
func (v *visit) askEnd(ctx context.Context) goredis.Cmder {
	v.end = goredis.NewXInfoStreamCmd(ctx, v.stream)
	v.end.SetFirstKeyPos(2) // the key is not the first argument
	return v.end
}

// takeEnd moves the followers to the end of their streams.
func takeEnd(visits []*visit, views redis.Views) {
	for _, v := range visits {
		switch err := v.end.Err(); {
		case err != nil && strings.Contains(err.Error(), "no such key"):
			v.events.last = "0-0" // what is born from now on is followed from its beginning
		case views.Note(viewEvents, err):
			v.events.last = v.end.Val().LastGeneratedID
		}
		v.end = nil
	}
}

// pages are one page of each of some streams, in one command.
type pages struct {
	about []*visit
	read  *goredis.XStreamSliceCmd
}

// page reads one page of each stream and answers the queues that have more.
func (r *reader) page(ctx context.Context, visits []*visit, size int64, left *budget, views redis.Views) (more []*visit, err error) {
	questions := r.pages(ctx, visits, size)
	err = redis.Pipelined(ctx, r.client, 1, questions, func(pipe goredis.Pipeliner, q pages) {
		_ = pipe.Process(ctx, q.read) // queues it
	})
	if err != nil {
		return nil, err
	}
	return takePages(questions, size, left, views), nil
}

// pages are the questions for a page of each stream.
func (r *reader) pages(ctx context.Context, visits []*visit, size int64) []pages {
	var questions []pages
	for about := range redis.Batches(r.client, visits, streamsPerRead, func(v *visit) string { return v.stream }) {
		args := append(make([]any, 0, 2*len(about)+4), "xread", "count", size, "streams")
		for _, v := range about {
			args = append(args, &v.stream)
		}
		for _, v := range about {
			args = append(args, &v.events.last)
		}
		q := pages{about, goredis.NewXStreamSliceCmd(ctx, args...)}
		q.read.SetFirstKeyPos(4)
		questions = append(questions, q)
	}
	return questions
}

func takePages(questions []pages, size int64, left *budget, views redis.Views) (more []*visit) {
	for _, q := range questions {
		answered := views.Note(viewEvents, q.read.Err()) || errors.Is(q.read.Err(), goredis.Nil)
		for _, v := range q.about {
			v.events.quiet = answered // what was not answered may be anything
		}
		at := 0
		for _, stream := range q.read.Val() { // those that have news, in the order of the question
			for at < len(q.about) && q.about[at].stream != stream.Stream {
				at++
			}
			if at == len(q.about) {
				break
			}
			v := q.about[at]
			v.take(stream.Messages, left)
			v.events.quiet = false
			if int64(len(stream.Messages)) == size {
				more = append(more, v)
			}
		}
	}
	return more
}

// skip leaves out what could not be read: the newest is worth more.
func (r *reader) skip(ctx context.Context, visits []*visit, views redis.Views) error {
	for _, v := range visits {
		v.events.gaps++
		v.events.underWay = nil
	}
	err := redis.Pipelined(ctx, r.client, 1, visits, func(pipe goredis.Pipeliner, v *visit) {
		_ = pipe.Process(ctx, v.askEnd(ctx)) // queues it
	})
	if err != nil {
		return err
	}
	takeEnd(visits, views)
	return nil
}

// take takes events in their order.
func (v *visit) take(events []goredis.XMessage, left *budget) {
	f := &v.events
	for _, event := range events {
		f.last = event.ID
		kind, _ := event.Values["event"].(string)
		id, _ := event.Values["jobId"].(string)
		left.events--
		for field, value := range event.Values {
			text, _ := value.(string)
			left.bytes -= len(field) + len(text)
		}
		v.happened(kind, id, moment(event.ID))
	}
	if v.read += len(events); v.maxEvents > 0 && v.read >= v.maxEvents && len(events) > 0 && !v.lost {
		// The stream keeps no more than this: older ones may have been dropped unseen.
		v.lost = true
		f.gaps++
	}
}

// happened takes one event. A job that is tried again waits and runs again; only
// its last run is timed.
func (v *visit) happened(kind, id string, at int64) {
	f := &v.events
	switch kind {
	case "waiting":
		f.note(id, times{waiting: at})
	case "active":
		known := f.underWay[id]
		if known.waiting > 0 {
			f.wait = observe(f.wait, at-known.waiting)
		}
		f.note(id, times{active: at})
	case "completed", "failed":
		if known := f.underWay[id]; known.active > 0 {
			f.run = observe(f.run, at-known.active)
		}
		delete(f.underWay, id)
		failed := kind == "failed"
		f.finished[int(number(failed))]++
		v.endings = append(v.endings, ending{id, failed})
	case "stalled":
		f.stalled++
	case "delayed", "removed":
		delete(f.underWay, id)
	}
}

// note keeps the time of a job, as long as there is room.
func (f *follower) note(id string, t times) {
	if f.underWay == nil {
		f.underWay = map[string]times{}
	}
	if _, known := f.underWay[id]; known || len(f.underWay) < maxUnderWay {
		f.underWay[id] = t
	}
}

// observe counts a time in milliseconds.
func observe(d *probe.Distribution, ms int64) *probe.Distribution {
	if d == nil {
		d = new(probe.NewHistogram(timeBounds...))
	}
	d.Observe(float64(max(0, ms)) / 1000)
	return d
}

// moment is the time in an event's id, in milliseconds of the server's clock.
func moment(id string) int64 {
	text, _, _ := strings.Cut(id, "-")
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return ms
}

// lengthOf is how many events the stream keeps, as the queue's meta says.
func lengthOf(meta []any) int {
	text, _ := meta[metaEvents].(string)
	n, err := strconv.Atoi(text)
	if errors.Is(err, strconv.ErrSyntax) || n < 0 {
		return 0
	}
	return n
}
