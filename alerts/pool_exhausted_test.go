package alerts

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// gauges are series of an instance in the preset's names, from waiting to max; what is
// empty is not there.
func gauges(preset, labels, waiting, idle, busy, most string) map[string]string {
	series := map[string]string{}
	for _, p := range Pools {
		if p.Name != preset {
			continue
		}
		for sign, selector := range p.Series.selectors() {
			if values := []string{waiting, idle, busy, most}[sign]; values != "" && selector != "" {
				series[seriesOfSelector(selector, labels)] = values
			}
		}
	}
	return series
}

// seriesOfSelector writes a series that the selector of a preset selects.
func seriesOfSelector(selector, labels string) string {
	extra := ""
	if strings.Contains(selector, `state="used"`) {
		extra = `,db_client_connection_state="used"`
	}
	for _, name := range []string{"pg_pool_waiting", "pg_pool_idle", "db_client_connection_count"} {
		if strings.Contains(selector, name) {
			selector = name
		}
	}
	return selector + `{job="api",` + labels + extra + `}`
}

func TestAPoolThatIsExhausted(t *testing.T) {
	// The rollout began after an hour, at reading 240, and is looked at ten minutes later.
	const a = `instance="a:1"`
	for name, c := range map[string]struct {
		series  map[string]string
		state   State
		message string
	}{
		"Prisma, exhausted":           {gauges("prisma", a, "0x250 3x30", "5x250 0x30", "", ""), Firing, "the pool of a:1 has no free connection, and requests wait, since 01:02:45"},
		"node-postgres, exhausted":    {gauges("node-postgres", a, "0x250 3x30", "5x250 0x30", "", ""), Firing, "the pool of a:1 has"},
		"HikariCP, exhausted":         {gauges("hikaricp", a+`,pool="main"`, "0x250 3x30", "", "2x250 10x30", "10x280"), Firing, "the pool main of a:1 has"},
		"OpenTelemetry, exhausted":    {gauges("otel", a, "0x250 3x30", "", "2x250 10x30", "10x280"), Firing, "has no free connection"},
		"for a minute yet":            {gauges("prisma", a, "0x276 3x4", "5x276 0x4", "", ""), Pending, "no free connection"},
		"with one reading that was":   {gauges("prisma", a, "0x250 3x25 0 3x4", "0x280", "", ""), Pending, "no free connection"},
		"read before a gap and after": {gauges("prisma", a, "0x250 3x5 _x20 3x5", "5x250 0x5 _x20 0x5", "", ""), Pending, "since 01:09:15"},
		"somebody waits, one is free": {gauges("prisma", a, "0x250 3x30", "1x280", "", ""), OK, "have connections for all who ask"},
		"all busy, and nobody waits":  {gauges("hikaricp", a, "0x280", "", "10x280", "10x280"), OK, ""},
		"a pool without a limit":      {gauges("hikaricp", a, "0x250 3x30", "", "10x280", "0x280"), OK, "for all who ask"},
		"as it was before":            {gauges("prisma", a, "0x200 3x80", "0x280", "", ""), OK, "is exhausted, as it was before the rollout"},
		"nothing waits by name":       {gauges("prisma", a, "", "0x280", "", ""), NoSeries, "no series tells of connection pools"},
		"nothing at all":              {nil, NoSeries, "no series tells of connection pools"},
		"not read any more":           {gauges("prisma", a, "3x260", "0x260", "", ""), Stale, "since 01:05:00"},
	} {
		t.Run(name, func(t *testing.T) {
			scene := probeScene(t, apiService(), 70*time.Minute, c.series)
			scene.Subject.StartedAt = time.Unix(0, 0).Add(time.Hour)
			f := findings(t, scene)["pool_exhausted"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Contains(t, f.Message, c.message)
			require.Equal(t, c.state != NoSeries, f.Required, "who has no pools needs none")
			require.Empty(t, f.Cause)
		})
	}
}

func TestAPoolMayFillWhileTheVersionWarmsUp(t *testing.T) {
	series := gauges("prisma", `instance="a:1"`, "3x60", "0x60", "", "")
	for after, state := range map[time.Duration]State{45 * time.Second: WarmingUp, 2*time.Minute + 45*time.Second: Pending, 3 * time.Minute: Firing} {
		f := findings(t, probeScene(t, apiService(), after, series))["pool_exhausted"]
		require.Equal(t, state, f.State, "%s: %s", after, f.Message)
		if state == Firing {
			require.Equal(t, time.Unix(180, 0), f.Since)
		}
	}
}

func TestWhatIsToBlameForAPoolThatIsExhausted(t *testing.T) {
	dry := func(labels string) map[string]string {
		return gauges("prisma", labels, "0x250 3x30", "5x250 0x30", "", "")
	}
	fine := func(labels string) map[string]string { return gauges("prisma", labels, "0x280", "5x280", "", "") }
	always := func(labels string) map[string]string { return gauges("prisma", labels, "3x250", "0x250", "", "") }
	const canary, stable, a, b, c = `instance="c:1",track="canary"`, `instance="s:1",track="stable"`, `instance="a:1"`, `instance="b:1"`, `instance="c:1"`
	database := map[string]string{`rollwatch_probe_up{job="rollwatch",kind="postgres",target="main"}`: "1x249 0x31"}
	for name, c := range map[string]struct {
		series []map[string]string
		state  State
		cause  Cause
	}{
		"the canary's, not stable's":  {[]map[string]string{dry(canary), fine(stable)}, Firing, ""},
		"stable's as well":            {[]map[string]string{dry(canary), dry(stable)}, Firing, Dependency},
		"stable's alone":              {[]map[string]string{fine(canary), dry(stable)}, OK, ""},
		"the database is down":        {[]map[string]string{dry(canary), fine(stable), database}, Firing, Dependency},
		"stable's before the rollout": {[]map[string]string{dry(canary), always(stable)}, Firing, Dependency},
		"one of three instances":      {[]map[string]string{dry(a), fine(b), fine(c)}, Firing, Pod},
		"two of three":                {[]map[string]string{dry(a), dry(b), fine(c)}, Firing, ""},
	} {
		t.Run(name, func(t *testing.T) {
			service := apiService()
			service.Databases = []string{"main"}
			all := map[string]string{}
			for _, some := range c.series {
				maps.Copy(all, some)
			}
			if _, tracks := all[seriesOfSelector("prisma_client_queries_wait", stable)]; tracks {
				service.Tracks = map[string]Labels{canaryTrack: {"track": "canary"}, stableTrack: {"track": "stable"}}
			}
			scene := probeScene(t, service, 70*time.Minute, all)
			scene.Subject.Strategy, scene.Subject.StartedAt = Canary, time.Unix(0, 0).Add(time.Hour)
			f := findings(t, scene)["pool_exhausted"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
		})
	}
}

func TestPoolsAreOfTheVersionThatTheirInstanceServes(t *testing.T) {
	service := apiService()
	service.VersionLabel = "version"
	dry := gauges("prisma", `instance="a:1"`, "3x60", "0x60", "", "")
	dry[requests("200", `version="1"`)] = "0+9x60"
	dry[`http_request_duration_seconds_count{job="api",instance="b:1",status_code="200",version="2"}`] = "0+9x60"
	maps.Copy(dry, gauges("prisma", `instance="b:1"`, "0x60", "5x60", "", ""))
	f := findings(t, probeScene(t, service, 10*time.Minute, dry))["pool_exhausted"]
	require.Equal(t, OK, f.State, f.Message)
	require.Equal(t, 1.0, f.N, "the old version's is not judged")
}

func TestPoolsOfOnesOwnNames(t *testing.T) {
	service := apiService()
	service.Pool = PoolSeries{Waiting: "db_waiting", Busy: `db_connections{state="busy"}`, Max: "db_limit"}
	series := map[string]string{
		`db_waiting{job="api",instance="a:1"}`:                    "2x60",
		`db_connections{job="api",instance="a:1",state="busy"}`:   "9x60",
		`db_connections{job="api",instance="a:1",state="idle"}`:   "3x60",
		`db_limit{job="api",instance="a:1"}`:                      "9x60",
		`prisma_client_queries_wait{job="api",instance="b:1"}`:    "2x60",
		`prisma_pool_connections_idle{job="api",instance="b:1"}`:  "0x60",
		`db_waiting{job="other",instance="z:1"}`:                  "2x60",
		`up{job="api",instance="a:1"}`:                            "1x60",
		`http_request_duration_seconds_count{job="api",code="2"}`: "0+9x60",
	}
	f := findings(t, probeScene(t, service, 10*time.Minute, series))["pool_exhausted"]
	require.Equal(t, Firing, f.State, f.Message)
	require.Equal(t, 1.0, *f.Observed, "where names are given, the known ones are not looked for")
}
