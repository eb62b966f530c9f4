package alerts

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/feature"
)

func loginService() *Service {
	return &Service{
		Name: "web", Databases: []string{"main"},
		Features: []*feature.Config{{Service: "web", Name: "login", HTTP: &feature.Request{URL: "http://127.0.0.1:3000/login"}}},
	}
}

// login are the series of a feature that fails for globex: so many times in a
// row now, first at one time, and worked last at another (in seconds since the
// rollout began; values as in promtool).
func login(failures, since, worked string) map[string]string {
	all := map[string]string{
		`rollwatch_feature_tenants{job="rollwatch",target="web/login",state="works"}`:  "2x40",
		`rollwatch_feature_tenants{job="rollwatch",target="web/login",state="broken"}`: "0x40",
	}
	for name, values := range map[string]string{
		feature.FailuresMetric: failures, feature.FailingMetric: since, feature.LastSuccessMetric: worked,
	} {
		if values != "" {
			all[fmt.Sprintf(`%s{job="rollwatch",target="web/login",tenant="globex"}`, name)] = values
		}
	}
	return all
}

func TestAFeatureThatBreaksForOneTenant(t *testing.T) {
	database := map[string]string{`rollwatch_probe_up{job="rollwatch",kind="postgres",target="main"}`: "1x20 0x20"}
	for name, c := range map[string]struct {
		series map[string]string
		state  State
		cause  Cause
	}{
		"it works for all":                         {login("", "", ""), OK, ""},
		"it failed once":                           {login("_x40 1", "_x40 590", "_x40 560"), OK, ""},
		"it fails twice in a row":                  {login("_x39 1 2", "_x39 580 580", "_x39 560 560"), Firing, ""},
		"it was broken before":                     {login("50+1x40", "-700x40", "-750x40"), OK, ""},
		"it broke just before":                     {login("2+1x40", "-10x40", "-40x40"), OK, ""},
		"it is not known to have worked":           {login("_x39 1 2", "_x39 580 580", ""), OK, ""},
		"it had not been tried for hours":          {login("_x39 1 2", "_x39 580 580", "_x39 -7200 -7200"), OK, ""},
		"it works again":                           {login("_x30 1 2 3 _x7", "_x30 450x2 _x7", "_x30 430x2 _x7"), OK, ""},
		"the database was down when it began":      {series(login("_x20 1+1x20", "_x20 310x20", "_x20 290x20"), database), Firing, Dependency},
		"nothing is tried any more":                {map[string]string{`rollwatch_feature_tenants{job="rollwatch",target="web/login",state="works"}`: "2x20"}, Stale, ""},
		"nothing was ever tried under the rollout": {map[string]string{}, NoSeries, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, probeScene(t, loginService(), 10*time.Minute, c.series))["critical_feature"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause)
			require.True(t, f.Required)
			if c.state == Firing && c.cause == "" {
				require.Equal(t, map[string]string{"tenant": "globex"}, f.Scope)
				require.Equal(t, "login fails for globex since 00:09:40, 2 times in a row, and worked at 00:09:20", f.Message)
				require.Equal(t, 1.0, *f.Observed)
			}
		})
	}
}

// A restart of the daemon forgets what the probe knew; the window does not.
func TestARestartDoesNotExcuseAFeatureThatWorked(t *testing.T) {
	const up, oldest = `rollwatch_feature_up{job="rollwatch",target="web/login",tenant="globex"}`, `rollwatch_feature_oldest_result_seconds{job="rollwatch",target="web/login"}`
	broken := login("_x38 1 2 3", "_x38 570 570 570", "") // the daemon was started at 560 s
	for name, c := range map[string]struct {
		up, oldest string
		state      State
	}{
		"it worked until then":               {"1x36 _ 0x3", "25x40", Firing},
		"it broke while nobody looked":       {"1x20 _x16 0x4", "25x40", Firing},
		"it had broken before the rollout":   {"0x36 _ 0x3", "25x40", OK},
		"it had worked, and broke before":    {"1 0x35 _ 0x3", "25x40", OK},
		"it had not been tried for hours":    {"1x36 _ 0x3", "9000x40", OK},
		"nobody knows":                       {"", "25x40", OK},
		"it was told of, and never known":    {"_x38 0x2", "25x40", OK},
		"it is not told how old results are": {"1x36 _ 0x3", "", Firing},
	} {
		t.Run(name, func(t *testing.T) {
			all := series(broken)
			for metric, values := range map[string]string{up: c.up, oldest: c.oldest} {
				if values != "" {
					all[metric] = values
				}
			}
			scene := probeScene(t, loginService(), 10*time.Minute, all)
			scene.Subject.StartedAt = time.Unix(60, 0)
			f := findings(t, scene)["critical_feature"]
			require.Equal(t, c.state, f.State, f.Message)
		})
	}
}

// Of over a thousand tenants the window tells only those for whom it fails: since when,
// and when it had worked.
func TestARestartDoesNotExcuseAFeatureThatBrokeForOneOfManyTenants(t *testing.T) {
	const up = "_x30 0x6 _ 0x3" // the daemon was started at 560 s, the rollout at 60 s
	for name, c := range map[string]struct {
		up, failing, worked string
		state               State
	}{
		"it broke under the rollout":               {up, "_x30 440x6 _ 570x3", "_x30 420x6", Firing},
		"it broke before the rollout":              {"0x36 _ 0x3", "-300x36 _ 570x3", "-320x36", OK},
		"it broke, and had not worked for hours":   {up, "_x30 440x6 _ 570x3", "_x30 -7200x6", OK},
		"it was never known to have worked":        {up, "_x30 440x6 _ 570x3", "", OK},
		"it is not known since when it had failed": {up, "_x38 570x2", "_x30 420x6", OK},
		"it had not failed by then":                {"_x38 0x2", "_x38 570x2", "", OK},
		"it broke twice, and a restart each time":  {"_x10 0x6 _ 0x18 _ 0x3", "_x10 140x6 _ 250x18 _ 570x3", "_x10 120x6", Firing},
		"few are told of, and it worked since":     {"_x10 0x6 1x19 _ 0x3", "_x10 40x6 _x21 570x3", "_x10 30x6", Firing},
		"few are told of, and it failed by then":   {"1x5 0x30 _ 0x3", "_x6 55x30 _ 570x3", "_x6 45x30", OK},
	} {
		t.Run(name, func(t *testing.T) {
			all := login("_x38 1 2 3", c.failing, c.worked)
			all[`rollwatch_feature_up{job="rollwatch",target="web/login",tenant="globex"}`] = c.up
			all[`rollwatch_feature_oldest_result_seconds{job="rollwatch",target="web/login"}`] = "25x40"
			scene := probeScene(t, loginService(), 10*time.Minute, all)
			scene.Subject.StartedAt = time.Unix(60, 0)
			f := findings(t, scene)["critical_feature"]
			require.Equal(t, c.state, f.State, f.Message)
			if name == "it broke under the rollout" {
				require.Equal(t, "login fails for globex since 00:07:20, 3 times in a row, and worked at 00:07:00", f.Message)
			}
		})
	}
}

// A broken feature needs no grace: users cannot use it.
func TestAFeatureThatBreaksInTheGraceFires(t *testing.T) {
	f := findings(t, probeScene(t, loginService(), 45*time.Second, login("_ 1 2 3", "_ 16x2", "_ 1x2")))["critical_feature"]
	require.Equal(t, Firing, f.State, f.Message)
	require.True(t, f.InGrace)
}

// What an override was about is not held against the rollout again.
func TestAnOverrideClearsABrokenFeature(t *testing.T) {
	scene := probeScene(t, loginService(), 10*time.Minute, login("_x20 1+1x20", "_x20 310x20", "_x20 290x20"))
	scene.After = time.Unix(400, 0)
	f := findings(t, scene)["critical_feature"]
	require.Equal(t, OK, f.State, f.Message)
}
