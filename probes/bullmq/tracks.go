package bullmq

import (
	"context"
	"maps"
	"slices"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// maxEndings is of how many finished jobs of a queue one reading asks who
// worked on them. Which worker was last is in the job, not in the event. What is
// not asked for is not counted by track: the first of them show the shares well.
const maxEndings = 200

// unknownTrack is the track of a job of which nobody knows who did it: it was
// removed when it was done, or its worker is of no track.
const unknownTrack = ""

// The tracks of a canary. Where only the one is told by its name, all other workers
// are of the other.
const (
	canaryTrack = "canary"
	stableTrack = "stable"
)

// isRest says whether a track is that of all workers that no name tells.
func (r *reader) isRest(track string) bool {
	return track == stableTrack && r.tracks[stableTrack] == nil && r.tracks[canaryTrack] != nil
}

// trackNames are all tracks that workers may be of.
func (r *reader) trackNames() []string {
	names := slices.Collect(maps.Keys(r.tracks))
	if r.isRest(stableTrack) {
		names = append(names, stableTrack)
	}
	return names
}

// on is how many of a crew are of a track.
func (r *reader) on(track string, c crew) int {
	if !r.isRest(track) {
		return c.tracks[track]
	}
	rest := c.workers
	for _, n := range c.tracks {
		rest -= n
	}
	return max(0, rest)
}

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
		job    *goredis.SliceCmd
	}
	var questions []*question
	for _, v := range visits {
		for _, ending := range v.endings[:min(len(v.endings), maxEndings)] {
			questions = append(questions, &question{of: v, ending: ending})
		}
	}
	err := redis.Pipelined(ctx, r.client, 1, questions, func(pipe goredis.Pipeliner, q *question) {
		q.job = pipe.HMGet(ctx, q.of.base+q.ending.id, "pb", "timestamp")
	})
	if err != nil {
		return err
	}
	for _, q := range questions {
		views.Note(viewTracks, q.job.Err())
		q.of.queue.credit(r.trackOf(q.job.Val()), q.ending.failed)
	}
	return nil
}

// trackOf is the track of who worked on a job, as its hash tells it: the name of the
// worker, if it has one, and a time that every job has.
func (r *reader) trackOf(job []any) string {
	if len(job) < 2 || job[1] == nil {
		return unknownTrack // it is not there any more
	}
	worker, _ := job[0].(string)
	for track, pattern := range r.tracks {
		if worker != "" && pattern.MatchString(worker) {
			return track
		}
	}
	if r.isRest(stableTrack) {
		return stableTrack
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
		for _, track := range r.trackNames() {
			to = append(to, m.Sample(q.credits[outcome{track, failed}], q.name, track))
		}
		to = append(to, m.Sample(q.credits[outcome{unknownTrack, failed}], q.name, unknownTrack))
	}
	return to
}
