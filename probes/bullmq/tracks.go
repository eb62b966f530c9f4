package bullmq

import (
	"context"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// maxEndings is of how many finished jobs of a queue one reading asks who
// worked on them. Which worker was last is in the job, not in the event.
const maxEndings = 200

// unknownTrack is the track of a job of which nobody knows who did it: it was
// removed when it was done, or its worker is of no track.
const unknownTrack = ""

// An outcome is a kind of finished jobs, of one track.
type outcome struct {
	track  string
	failed bool
}

// credit counts the jobs that came to an end to the tracks of their workers.
func (r *reader) credit(ctx context.Context, visits []*visit, views redis.Views) error {
	if len(r.tracks) == 0 {
		return nil
	}
	type question struct {
		of     *visit
		ending ending
		worker *goredis.StringCmd
	}
	var questions []*question
	for _, v := range visits {
		for _, ending := range v.endings[:min(len(v.endings), maxEndings)] {
			questions = append(questions, &question{of: v, ending: ending})
		}
	}
	err := redis.Pipelined(ctx, r.client, 1, questions, func(pipe goredis.Pipeliner, q *question) {
		q.worker = pipe.HGet(ctx, q.of.base+q.ending.id, "pb")
	})
	if err != nil {
		return err
	}
	for _, q := range questions {
		views.Note(viewTracks, q.worker.Err())
		q.of.queue.credit(r.trackOf(q.worker.Val()), q.ending.failed)
	}
	for _, v := range visits {
		for _, ending := range v.endings[min(len(v.endings), maxEndings):] {
			v.queue.credit(unknownTrack, ending.failed)
		}
	}
	return nil
}

// trackOf is the track of the worker with that name.
func (r *reader) trackOf(worker string) string {
	for track, pattern := range r.tracks {
		if worker != "" && pattern.MatchString(worker) {
			return track
		}
	}
	return unknownTrack
}

func (q *queue) credit(track string, failed bool) {
	if q.credits == nil {
		q.credits = map[outcome]float64{}
	}
	q.credits[outcome{track, failed}]++
}

// trackSamples are the finished jobs of every track, also where there is none yet.
func (r *reader) trackSamples(to []probe.Sample, q *queue) []probe.Sample {
	for i, m := range []*probe.Metric{trackCompleted, trackFailed} {
		failed := i == 1
		for track := range r.tracks {
			to = append(to, m.Sample(q.credits[outcome{track, failed}], q.name, track))
		}
		to = append(to, m.Sample(q.credits[outcome{unknownTrack, failed}], q.name, unknownTrack))
	}
	return to
}
