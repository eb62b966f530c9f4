package alerts

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The stories of workers last three hours: the rollout begins after two.
const workBegan = 480

// workerService has workers that export what they do.
func workerService() *Service {
	return &Service{
		Name: "worker", Completions: "jobs_completed_total", Failures: "jobs_failed_total", Concurrency: "worker_concurrency",
		Tracks: map[string]Labels{canaryTrack: {"track": "canary"}, stableTrack: {"track": "stable"}},
	}
}

// workScene judges a canary of workers, so long after it began.
func workScene(t *testing.T, service *Service, after time.Duration, series ...map[string]string) Scene {
	t.Helper()
	all := map[string]string{}
	for _, some := range series {
		maps.Copy(all, some)
	}
	scene := probeScene(t, service, 2*time.Hour+after, all)
	scene.Subject.Strategy, scene.Subject.StartedAt = Canary, time.Unix(0, 0).Add(2*time.Hour)
	scene.Policy.MinRequests = 100
	return withBaseline(t, scene)
}

// instance is a worker of a track that is there from so many ticks on, with what it
// completes and fails in each, and takes so many jobs at once.
func instance(track, name string, from int, completes, fails, concurrency float64, more ...string) map[string]string {
	labels := fmt.Sprintf(`{job="worker",instance=%q,track=%q`, name, track) + strings.Join(more, "")
	n := workBegan + 240 - from
	series := map[string]string{
		`up` + labels + `}`:                   absent(from) + fmt.Sprintf("1x%d", n),
		`jobs_completed_total` + labels + `}`: absent(from) + fmt.Sprintf("0+%gx%d", completes, n),
		`jobs_failed_total` + labels + `}`:    absent(from) + fmt.Sprintf("0+%gx%d", fails, n),
	}
	if concurrency > 0 {
		series[`worker_concurrency`+labels+`}`] = absent(from) + fmt.Sprintf("%gx%d", concurrency, n)
	}
	return series
}

// What argo-rollouts #438 and flagger #375 ask for in vain.
func TestWorkersHaveNoTrafficToShiftAndAreJudgedAllTheSame(t *testing.T) {
	stable := []map[string]string{instance("stable", "a:1", 0, 60, 1, 4), instance("stable", "b:1", 0, 60, 1, 4)}
	with := func(canary ...map[string]string) []map[string]string { return append(canary, stable...) }
	unsaid := workerService()
	unsaid.Concurrency = ""
	for name, c := range map[string]struct {
		service         *Service
		series          []map[string]string
		rate, failures  State
		message, failed string
	}{
		"as fast": {series: with(instance("canary", "c:1", workBegan, 60, 1, 4)), rate: OK, failures: OK, message: "jobs completed 1/s a worker against 1/s a worker beside it (n="},
		"half as fast": {series: with(instance("canary", "c:1", workBegan, 30, 1, 4)), rate: Firing, failures: OK,
			message: "jobs completed 0.5/s a worker against 1/s a worker beside it"},
		"half as fast, with half the jobs at once":          {series: with(instance("canary", "c:1", workBegan, 30, 0.5, 2)), rate: OK, failures: OK},
		"which is told by nobody":                           {service: unsaid, series: with(instance("canary", "c:1", workBegan, 30, 0.5, 2)), rate: Firing, failures: OK, message: "2/s a worker against 4/s"},
		"ten times the failures":                            {series: with(instance("canary", "c:1", workBegan, 60, 10, 4)), rate: OK, failures: Firing, failed: "jobs failed 0.167/s a worker against 0.0167/s a worker beside it"},
		"no canary, whom nobody misses before there is one": {series: stable, rate: NoSeries, failures: NoSeries, message: `no worker has series with track="canary"`},
	} {
		t.Run(name, func(t *testing.T) {
			service := c.service
			if service == nil {
				service = workerService()
			}
			scene := workScene(t, service, 10*time.Minute, c.series...)
			all := findings(t, scene)
			require.Equal(t, c.rate, all["queue_rate"].State, all["queue_rate"].Message)
			require.Equal(t, c.failures, all["queue_failures"].State, all["queue_failures"].Message)
			require.Contains(t, all["queue_rate"].Message, c.message)
			require.Contains(t, all["queue_failures"].Message, c.failed)
			require.True(t, all["queue_rate"].Required)
			require.Equal(t, dispersionOfReplicas, scene.Subject.Baseline.Pace.Completions.Of)
			_, judged := all["error_ratio"]
			require.False(t, judged, "workers have no requests")
			require.Contains(t, all, "target_down", "but they answer, or not")
		})
	}
}

func TestWhoIsAWorkerOfTheNewVersion(t *testing.T) {
	queue := func(name string) string { return fmt.Sprintf(`,queue=%q`, name) }
	unsaid := workerService()
	unsaid.Concurrency = ""
	up := func(track, name string) map[string]string {
		return map[string]string{fmt.Sprintf(`up{job="worker",instance=%q,track=%q}`, name, track): "1x720"}
	}
	stable := instance("stable", "a:1", 0, 60, 1, 0, queue("mail"))
	for name, c := range map[string]struct {
		series []map[string]string
		state  State
	}{
		"one that never finished a job, where all instances are workers": {[]map[string]string{stable, up("canary", "c:1"), up("stable", "a:1")}, Firing},
		"none that serves something else, as some of stable do":          {[]map[string]string{stable, up("canary", "c:1"), up("stable", "web:1"), up("stable", "a:1")}, NoSeries},
		"one for another queue is nobody to compare": {[]map[string]string{
			stable, instance("canary", "c:1", workBegan, 1, 0, 0, queue("images")), instance("stable", "b:1", 0, 1, 0, 0, queue("images")),
		}, OK},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, workScene(t, unsaid, 10*time.Minute, c.series...))["queue_rate"]
			require.Equal(t, c.state, f.State, f.Message)
		})
	}

	// One for another queue may have had no job yet, and is not slow at this one.
	waits := map[string]string{`worker_concurrency{job="worker",instance="d:1",track="canary"}`: absent(workBegan) + "12x240"}
	apart := findings(t, workScene(t, workerService(), 10*time.Minute, instance("stable", "a:1", 0, 60, 1, 4, queue("mail")),
		instance("stable", "b:1", 0, 1, 0, 4, queue("images")), instance("canary", "c:1", workBegan, 60, 1, 4, queue("mail")), waits))["queue_rate"]
	require.Equal(t, OK, apart.State, apart.Message)

	// A gauge of concurrency is there from the start, though no job was ever done.
	gauge := map[string]string{`worker_concurrency{job="worker",instance="c:1",track="canary"}`: absent(workBegan) + "4x240"}
	f := findings(t, workScene(t, workerService(), 10*time.Minute, instance("stable", "a:1", 0, 60, 1, 4, queue("mail")), gauge))["queue_rate"]
	require.Equal(t, Firing, f.State, f.Message)
	require.Zero(t, *f.Observed)
}

func TestNewWorkersAreComparedWithOldOnesWhileBothServe(t *testing.T) {
	service := workerService()
	service.Tracks, service.VersionLabel, service.Concurrency = nil, "version", ""
	old := instance("", "a:1", 0, 60, 1, 0, `,version="1"`)
	for name, c := range map[string]struct {
		completes float64
		state     State
	}{"half as fast": {30, Firing}, "as fast": {60, OK}} {
		scene := workScene(t, service, 10*time.Minute, old, instance("", "b:1", workBegan, c.completes, 1, 0, `,version="2"`))
		scene.Subject.Strategy = Rolling
		f := findings(t, scene)["queue_rate"]
		require.Equal(t, c.state, f.State, "%s: %s", name, f.Message)
		require.False(t, f.Required, "old ones leave")
		require.Equal(t, map[string]string{"version": "2"}, f.Scope)
	}
	// A gauge that says nothing of versions is of whatever its instance is.
	service.Concurrency = "worker_concurrency"
	gauges := map[string]string{`worker_concurrency{job="worker",instance="a:1"}`: "4x720", `worker_concurrency{job="worker",instance="b:1"}`: absent(workBegan) + "2x240"}
	scene := workScene(t, service, 10*time.Minute, old, instance("", "b:1", workBegan, 30, 1, 0, `,version="2"`), gauges)
	f := findings(t, scene)["queue_rate"]
	require.Equal(t, OK, f.State, f.Message)
	require.InDelta(t, 1, *f.Observed, 0.01)

	service.Concurrency = ""
	scene = workScene(t, service, 10*time.Minute, instance("", "b:1", 0, 60, 1, 0, `,version="2"`))
	f = findings(t, scene)["queue_rate"]
	require.Equal(t, NoSeries, f.State)
	require.Equal(t, "there is nothing to compare with: no old version was read beside the new one", f.Message)
}

func TestOneWorkerThatIsSlowIsNotTheVersion(t *testing.T) {
	stable := []map[string]string{instance("stable", "a:1", 0, 60, 1, 4), instance("stable", "b:1", 0, 60, 1, 4)}
	f := findings(t, workScene(t, workerService(), 15*time.Minute, append(stable,
		instance("canary", "c:1", workBegan, 60, 1, 4), instance("canary", "d:1", workBegan, 58, 1, 4), instance("canary", "e:1", workBegan, 0, 1, 12))...))["queue_rate"]
	require.Equal(t, Firing, f.State, f.Message)
	require.Equal(t, Pod, f.Cause)
	require.Contains(t, f.Message, "without e:1 all is well")
}

func TestATickWithoutOneArmIsLeftOutOfBoth(t *testing.T) {
	canary := instance("canary", "c:1", workBegan, 60, 1, 4)
	for name := range canary {
		if strings.HasPrefix(name, "jobs_completed") {
			canary[name] = absent(workBegan) + "0+60x12 _x3 960+60x225"
		}
		if strings.HasPrefix(name, "jobs_failed") || strings.HasPrefix(name, "up") {
			canary[name] = absent(workBegan) + "1x12 _x3 1x225"
		}
	}
	scene := workScene(t, workerService(), 10*time.Minute, canary, instance("stable", "a:1", 0, 60, 1, 4))
	counts, err := gatherWork(t.Context(), scene, false)
	require.NoError(t, err)
	seen, seconds := 0, 0.0
	for _, tick := range counts.Ticks {
		if tick.Subject.Seen && tick.Control.Seen {
			seen++
		}
		seconds += tick.Subject.work().Seconds
	}
	require.Equal(t, 37, seen, "three of forty were missed")
	require.InDelta(t, 4*(10*60-15), seconds, 61, "the time of what was missed is counted with its jobs")
	f := findings(t, scene)["queue_rate"]
	require.Equal(t, OK, f.State, f.Message)
	require.InDelta(t, 1, *f.Observed, 0.01)
}

// namedWorkers are BullMQ's workers by their names, as its probe tells of them.
func namedWorkers(track string, workers, completes, fails float64, more ...string) map[string]string {
	labels := fmt.Sprintf(`{job="rollwatch",target="jobs",queue="mail",track=%q`, track) + strings.Join(more, "") + `}`
	series := map[string]string{
		`bullmq_track_jobs_completed_total` + labels:                      fmt.Sprintf("0+%gx720", completes),
		`bullmq_track_jobs_failed_total` + labels:                         fmt.Sprintf("0+%gx720", fails),
		`rollwatch_probe_up{job="rollwatch",kind="bullmq",target="jobs"}`: "1x720",
	}
	if track != "" {
		series[`bullmq_queue_track_workers`+labels] = fmt.Sprintf("%gx720", workers)
	}
	return series
}

func TestBullMQWorkersAreComparedByTheirNames(t *testing.T) {
	service := func() *Service { return &Service{Name: "worker", Queues: []string{"jobs"}, WorkerTracks: true} }
	unknown := namedWorkers("", 0, 0, 0)
	for name, c := range map[string]struct {
		series         []map[string]string
		rate, failures State
		message        string
	}{
		"as fast, and fewer": {[]map[string]string{namedWorkers("canary", 1, 30, 1), namedWorkers("stable", 9, 270, 9), unknown}, OK, OK, "jobs completed 2/s a worker against 2/s a worker beside it"},
		"half as fast":       {[]map[string]string{namedWorkers("canary", 2, 30, 1), namedWorkers("stable", 8, 240, 4), unknown}, Firing, OK, "jobs completed 1/s a worker against 2/s a worker"},
		"twenty times the failures": {
			[]map[string]string{namedWorkers("canary", 2, 60, 20), namedWorkers("stable", 8, 240, 4), unknown}, OK, Firing, "",
		},
		"nobody works on the canary": {[]map[string]string{namedWorkers("canary", 0, 0, 0), namedWorkers("stable", 8, 240, 4), unknown}, NoTraffic, NoTraffic, "no worker of the new version"},
		"nothing to do":              {[]map[string]string{namedWorkers("canary", 2, 0, 0), namedWorkers("stable", 8, 0, 0), unknown}, NoTraffic, NoTraffic, "no jobs to compare"},
		"jobs are removed when they are done": {
			[]map[string]string{namedWorkers("canary", 2, 0, 1), namedWorkers("stable", 8, 0, 4), namedWorkers("", 0, 300, 0)}, NoSeries, NoSeries,
			"of 12000 of 12000 completed jobs nobody knows who did them",
		},
		"only the new version removes them": {
			[]map[string]string{namedWorkers("canary", 1, 0, 1), namedWorkers("stable", 11, 330, 11), namedWorkers("", 0, 30, 0)}, NoSeries, NoSeries,
			"of 1200 of 14400 completed jobs nobody knows who did them",
		},
		"only the old version removes those that failed": {
			[]map[string]string{namedWorkers("canary", 9, 270, 27), namedWorkers("stable", 1, 30, 0), namedWorkers("", 0, 0, 3)}, OK, NoSeries, "",
		},
		"a few are removed": {
			[]map[string]string{namedWorkers("canary", 2, 58, 3), namedWorkers("stable", 8, 233, 10), namedWorkers("", 0, 9, 1)}, OK, OK, "",
		},
		"nothing is read": {nil, NoSeries, NoSeries, "nothing to compare with"},
	} {
		t.Run(name, func(t *testing.T) {
			all := findings(t, workScene(t, service(), 10*time.Minute, c.series...))
			require.Equal(t, c.rate, all["queue_rate"].State, all["queue_rate"].Message)
			require.Equal(t, c.failures, all["queue_failures"].State, all["queue_failures"].Message)
			require.Contains(t, all["queue_rate"].Message, c.message)
			require.True(t, all["queue_rate"].Required)
		})
	}
	scene := workScene(t, service(), 10*time.Minute, namedWorkers("canary", 2, 1, 0), namedWorkers("stable", 2, 60, 0))
	require.Equal(t, dispersionOfTicks, scene.Subject.Baseline.Pace.Completions.Of, "its workers are not told apart")
	scene.Subject.Strategy = Rolling
	f := findings(t, scene)["queue_rate"]
	require.Equal(t, NoSeries, f.State)
	require.False(t, f.Required, "names tell a canary, and there is none")

	down := namedWorkers("canary", 2, 30, 0)
	for name := range down {
		down[name] = "0+30x500"
	}
	down[`rollwatch_probe_up{job="rollwatch",kind="bullmq",target="jobs"}`] = "1x500 0x200"
	f = findings(t, workScene(t, service(), 10*time.Minute, down))["queue_rate"]
	require.Equal(t, SourceDown, f.State, f.Message)
}
