package alerts

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector/windowtest"
	"github.com/rollwatch/rollwatch/probes/http"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// probeScene has no past: rollouts start at 0 in it.
func probeScene(t *testing.T, service *Service, after time.Duration, series map[string]string) Scene {
	t.Helper()
	return Scene{
		Window: windowtest.New(t, interval, series), Service: service,
		Subject: Subject{Service: service.Name, Version: "2", Strategy: Rolling, StartedAt: time.Unix(0, 0)},
		Now:     time.Unix(0, 0).Add(after), Interval: interval, Grace: time.Minute,
	}
}

func healthOnly() *Service {
	s := &Service{Name: "web"}
	s.Health.URL = "http://127.0.0.1:3000/health"
	return s
}

const (
	healthUp = `rollwatch_probe_up{job="rollwatch",kind="http",target="web"}`
	healthy  = `rollwatch_http_healthy{job="rollwatch",target="web"}`
)

func TestAVersionThatNeverAnswersFires(t *testing.T) {
	never := map[string]string{healthUp: "0x60", `rollwatch_probe_up{job="rollwatch",kind="http",target="other"}`: "1x60"}
	for after, state := range map[time.Duration]State{
		45 * time.Second: WarmingUp, 105 * time.Second: Pending, 2 * time.Minute: Firing, 10 * time.Minute: Firing,
	} {
		f := findings(t, probeScene(t, healthOnly(), after, never))["target_down"]
		require.Equal(t, state, f.State, "after %s: %s", after, f.Message)
		if state == Firing {
			require.Equal(t, time.Unix(120, 0), f.Since)
			require.Empty(t, f.Cause)
			require.True(t, f.Seen)
		}
	}
}

func TestTargetDownOfAServiceThatHasHealthAlone(t *testing.T) {
	for name, c := range map[string]struct {
		series map[string]string
		state  State
	}{
		"well":                     {map[string]string{healthUp: "1x40", healthy: "1x40"}, OK},
		"says it is ill":           {map[string]string{healthUp: "1x40", healthy: "1x30 0x9"}, Firing},
		"refuses":                  {map[string]string{healthUp: "1x30 0x9", healthy: "1x30"}, Firing},
		"refuses for half of it":   {map[string]string{healthUp: "1x38 0x1", healthy: "1x38"}, Pending},
		"answers now and then":     {map[string]string{healthUp: "0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1 0 0 1"}, Pending},
		"refused, is well again":   {map[string]string{healthUp: "1x20 0x9 1x9"}, OK},
		"is not read any more":     {map[string]string{healthUp: "1x20"}, Stale},
		"was down before, not now": {map[string]string{healthUp: "0 1x40"}, OK},
		"was never read":           {map[string]string{}, NoSeries},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, probeScene(t, healthOnly(), 10*time.Minute, c.series))["target_down"]
			require.Equal(t, c.state, f.State, f.Message)
			require.True(t, f.Required)
		})
	}
}

func TestWhatIsToBlameForATargetThatIsDown(t *testing.T) {
	up := func(instance, values string, labels ...string) map[string]string {
		extra := ""
		for _, l := range labels {
			extra += "," + l
		}
		return map[string]string{`up{job="api",instance="` + instance + `"` + extra + `}`: values}
	}
	fine, down := "1x40", "1x20 0x20"
	database := map[string]string{`rollwatch_probe_up{job="rollwatch",kind="postgres",target="main"}`: "1x20 0x20"}
	queues := map[string]string{`rollwatch_probe_up{job="rollwatch",kind="bullmq",target="jobs"}`: "1x19 0x21"}
	late := map[string]string{`rollwatch_probe_up{job="rollwatch",kind="postgres",target="main"}`: "1x30 0x10"}
	stable, canary := `track="stable"`, `track="canary"`
	for name, c := range map[string]struct {
		series map[string]string
		state  State
		cause  Cause
	}{
		"all are down":             {series(up("a:1", down), up("b:1", down)), Firing, ""},
		"the database is":          {series(up("a:1", down), database), Firing, Dependency},
		"its queues are":           {series(up("a:1", down), queues), Firing, Dependency},
		"the database is, later":   {series(up("a:1", down), late), Firing, ""},
		"one of three is":          {series(up("a:1", down), up("b:1", fine), up("c:1", fine)), Firing, Pod},
		"one of two is":            {series(up("a:1", down), up("b:1", fine)), Firing, ""},
		"one of three is, it left": {series(up("a:1", "1x20"), up("b:1", fine), up("c:1", fine)), OK, ""},
		"one failed and is gone":   {series(up("a:1", "1x20 0x10"), up("b:1", fine), up("c:1", fine)), OK, ""},
		"stable is, canary not":    {series(up("a:1", fine, canary), up("b:1", down, stable)), OK, ""},
		"canary is, stable not":    {series(up("a:1", down, canary), up("b:1", fine, stable)), Firing, ""},
		"both tracks are":          {series(up("a:1", down, canary), up("b:1", down, stable)), Firing, Dependency},
	} {
		t.Run(name, func(t *testing.T) {
			service := apiService()
			service.Databases, service.Queues = []string{"main"}, []string{"jobs"}
			service.Tracks = map[string]Labels{"canary": {"track": "canary"}, "stable": {"track": "stable"}}
			scene := probeScene(t, service, 10*time.Minute, c.series)
			if slices.ContainsFunc(slices.Collect(maps.Keys(c.series)), func(s string) bool { return len(s) > 40 && s[:2] == "up" }) {
				scene.Subject.Strategy = Canary
			}
			f := findings(t, scene)["target_down"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
		})
	}
}

func TestANewVersionThatNeverAnswersIsToldFromOldOnesThatDo(t *testing.T) {
	service := apiService()
	service.VersionLabel = "version"
	old := map[string]string{
		requests("200", `version="1"`): "0+100x40", `up{job="api",instance="a:1"}`: "1x40",
		`http_request_duration_seconds_count{job="api",instance="c:1",status_code="200",version="1"}`: "0+100x40", `up{job="api",instance="c:1"}`: "1x40",
	}
	f := findings(t, probeScene(t, service, 10*time.Minute, series(old, map[string]string{`up{job="api",instance="b:1"}`: "0x40"})))["target_down"]
	require.Equal(t, Firing, f.State, f.Message)
	require.Empty(t, f.Cause, "the old ones that serve do not make it one pod's fault")
}

func TestTheHealthSeriesAreThoseThatTheProbeWrites(t *testing.T) {
	require.True(t, slices.ContainsFunc(http.Metrics, func(m *probe.Metric) bool { return m.Name == healthyMetric }))
}

func TestFailedJobsAreSummedAndTheSourceIsSaid(t *testing.T) {
	service := &Service{Name: "worker", Queues: []string{"jobs", "mail"}}
	well := map[string]string{
		`rollwatch_probe_up{job="rollwatch",kind="bullmq",target="jobs"}`: "1x80",
		`rollwatch_probe_up{job="rollwatch",kind="asynq",target="mail"}`:  "1x80",
	}
	count := func(queue, state, values string) map[string]string {
		return map[string]string{`bullmq_job_count{job="rollwatch",target="jobs",queue="` + queue + `",state="` + state + `"}`: values}
	}
	total := func(queue, values string) map[string]string {
		return map[string]string{`bullmq_job_failed_total{job="rollwatch",target="jobs",queue="` + queue + `"}`: values}
	}
	mail := map[string]string{`asynq_tasks_failed_total{job="rollwatch",target="mail",queue="default"}`: "1000x40 1030x40"}
	other := map[string]string{`asynq_tasks_failed_total{job="rollwatch",target="theirs",queue="default"}`: "0+1000x80"}
	for name, c := range map[string]struct {
		series map[string]string
		state  State
		jobs   float64
		method string
	}{
		"a counter":             {series(well, mail, total("a", "50+2x80")), Firing, 190, "threshold on bullmq_job_failed_total (1) and asynq_tasks_failed_total (1)"},
		"a counter that resets": {series(well, mail, total("a", "1000x40 5x40")), OK, 35, "threshold on bullmq_job_failed_total (1) and asynq_tasks_failed_total (1)"},
		"retained, then trimmed": {series(well, mail, count("a", "failed", "10x10 60x10 20x10 80x50"), count("a", "waiting", "0+9x80")), Firing, 140,
			"threshold on asynq_tasks_failed_total (1) and bullmq_job_count (1)"},
		"counted once only":             {series(well, mail, total("a", "0+0.5x80"), count("a", "failed", "0+0.25x80")), OK, 70, "threshold on bullmq_job_failed_total (1) and asynq_tasks_failed_total (1)"},
		"the counter is born with them": {series(well, mail, total("a", "_x20 150x60"), count("a", "failed", "0x20 150x60")), Firing, 180, "threshold on bullmq_job_failed_total (1) and asynq_tasks_failed_total (1)"},
		"the counter alone is late":     {series(well, mail, total("a", "_x20 5000x60")), OK, 30, "threshold on bullmq_job_failed_total (1) and asynq_tasks_failed_total (1)"},
		"born, and trimmed at once":     {series(well, mail, total("a", "_x20 150x60"), count("a", "failed", "0x20 10x60")), Firing, 180, "threshold on bullmq_job_failed_total (1) and asynq_tasks_failed_total (1)"},
		"the counter stands still":      {series(well, mail, total("a", "7x80"), count("a", "failed", "0+9x80")), Firing, 750, "threshold on asynq_tasks_failed_total (1) and bullmq_job_count (1)"},
		"what is retained is capped":    {series(well, mail, count("a", "failed", "50x80")), OK, 30, "threshold on asynq_tasks_failed_total (1) and bullmq_job_count (1)"},
		"discovered late":               {series(well, mail, count("a", "failed", "_x20 5000x60")), OK, 30, "threshold on asynq_tasks_failed_total (1) and bullmq_job_count (1)"},
		"not ours":                      {series(well, mail, other), OK, 30, "threshold on asynq_tasks_failed_total (1)"},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, probeScene(t, service, 20*time.Minute, c.series))["queue_failed"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Equal(t, c.jobs, *f.Observed)
			require.Equal(t, c.method, f.Evidence.Method)
			require.Equal(t, strings.Contains(c.method, "bullmq_job_count"), f.Evidence.Resolution != "", "what is not retained is missed")
			require.Equal(t, Hold, f.Mode)
			require.Equal(t, 1.0, f.Coverage)
		})
	}
}

func TestQueuesThatCannotBeReadAreMissing(t *testing.T) {
	service := &Service{Name: "worker", Queues: []string{"jobs"}}
	const up, failed = `rollwatch_probe_up{job="rollwatch",kind="bullmq",target="jobs"}`, `bullmq_job_failed_total{job="rollwatch",target="jobs",queue="a"}`
	for name, c := range map[string]struct {
		series map[string]string
		state  State
		since  int64
	}{
		"redis is down":       {map[string]string{up: "1x20 0x20", failed: "0x20"}, SourceDown, 315},
		"nothing read":        {map[string]string{}, NoSeries, 0},
		"read no more":        {map[string]string{up: "1x20", failed: "0x20"}, Stale, 345},
		"no queue there yet":  {map[string]string{up: "1x40"}, OK, 0},
		"failed all the same": {map[string]string{up: "1x20 0x20", failed: "0+10x20"}, Firing, 150},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, probeScene(t, service, 10*time.Minute, c.series))["queue_failed"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Equal(t, time.Unix(c.since, 0), f.Since)
		})
	}
	f := findings(t, probeScene(t, service, 45*time.Second, map[string]string{up: "1x40", failed: "0+100x40"}))["queue_failed"]
	require.Equal(t, WarmingUp, f.State)
}

func TestCustomGateIsBeyondItsLimitAtEachEvaluation(t *testing.T) {
	below := 0.9
	custom := Custom{Name: "checkout", Service: "web", Signal: `sum(ok) / sum(all)`, Below: &below, For: model.Duration(5 * time.Minute), Verdict: "rollback"}
	const all = `all`
	for name, c := range map[string]struct {
		series map[string]string
		after  time.Duration
		state  State
		since  int64
	}{
		"below all the time":     {map[string]string{"ok": "8x80", all: "10x80"}, 10 * time.Minute, Firing, 300},
		"above all the time":     {map[string]string{"ok": "10x80", all: "10x80"}, 10 * time.Minute, OK, 0},
		"below for four minutes": {map[string]string{"ok": "10x23 8x80", all: "10x80"}, 10 * time.Minute, Pending, 360},
		"below but for once":     {map[string]string{"ok": "8x30 10 8x80", all: "10x80"}, 10 * time.Minute, Pending, 480},
		"once below":             {map[string]string{"ok": "10x30 8 10x80", all: "10x80"}, 10 * time.Minute, Pending, 480},
		"not for long enough":    {map[string]string{"ok": "8x80", all: "10x80"}, 4 * time.Minute, Pending, 15},
		"in the grace":           {map[string]string{"ok": "8x80", all: "10x80"}, 30 * time.Second, WarmingUp, 15},
		"never there":            {map[string]string{all: "10x80"}, 10 * time.Minute, NoSeries, 0},
		"nothing to divide by":   {map[string]string{"ok": "0x80", all: "0x80"}, 10 * time.Minute, NoSeries, 0},
		"gone":                   {map[string]string{"ok": "8x20 stale", all: "10x80"}, 10 * time.Minute, Stale, 345},
		"before the rollout":     {map[string]string{"ok": "8", all: "10"}, 0, NoSeries, 0},
	} {
		t.Run(name, func(t *testing.T) {
			scene := probeScene(t, healthOnly(), c.after, c.series)
			f, err := Evaluate(t.Context(), Gates(Config{Custom: []Custom{custom}}, scene.Service)[1:], scene)
			require.NoError(t, err)
			require.Equal(t, c.state, f[0].State, f[0].Message)
			require.Equal(t, time.Unix(c.since, 0), f[0].Since)
			require.True(t, f[0].Required)
			require.NotEmpty(t, f[0].Message)
		})
	}
}

func TestTheWorstSeriesOfACustomSignalIsJudged(t *testing.T) {
	above := 5.0
	custom := Custom{Name: "lag", Service: "web", Signal: "lag", Above: &above}
	scene := probeScene(t, healthOnly(), 5*time.Minute, map[string]string{`lag{queue="a"}`: "1x40", `lag{queue="b"}`: "9x40"})
	f, err := Evaluate(t.Context(), Gates(Config{Custom: []Custom{custom}}, scene.Service)[1:], scene)
	require.NoError(t, err)
	require.Equal(t, Firing, f[0].State)
	require.Equal(t, 9.0, *f[0].Observed)
	require.Equal(t, "b", f[0].Scope["queue"])
	require.Equal(t, Hold, f[0].Mode, "a gate that asks for nothing holds")
}

func TestAWindowThatCannotBeReadIsAnErrorThatNamesTheGate(t *testing.T) {
	above := 5.0
	custom := Custom{Name: "lag", Service: "web", Signal: "sum(", Above: &above}
	scene := probeScene(t, healthOnly(), time.Minute, nil)
	_, err := Evaluate(t.Context(), Gates(Config{Custom: []Custom{custom}}, scene.Service)[1:], scene)
	require.ErrorContains(t, err, "gate lag of service web: signal:")
}
