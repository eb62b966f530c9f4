package alerts

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// served are the requests of one tenant or route a tick, and those of them that
// fail, before a rollout and after it began.
func served(who string, before, failedBefore, after, failedAfter float64) map[string]string {
	return map[string]string{
		requests("200", who): values([2]float64{before - failedBefore, hour}, [2]float64{after - failedAfter, 80}),
		requests("500", who): values([2]float64{failedBefore, hour}, [2]float64{failedAfter, 80}),
	}
}

func TestOneTenantIsToBlame(t *testing.T) {
	service := apiService()
	service.TenantLabel = "tenant"
	others := series(served(`tenant="acme"`, 100, 0, 100, 0), served(`tenant="globex"`, 100, 0, 100, 0))
	for name, c := range map[string]struct {
		series  map[string]string
		cause   Cause
		tenants State // what the gate of tenants says
	}{
		"a client that was broken before sends more":       {series(others, served(`tenant="noisy"`, 1, 1, 30, 30)), Tenant, OK},
		"the version fails one tenant":                     {series(others, served(`tenant="noisy"`, 30, 0, 30, 30)), Tenant, Firing},
		"the version fails all of them":                    {series(served(`tenant="acme"`, 100, 0, 100, 10), served(`tenant="globex"`, 100, 0, 100, 10), served(`tenant="noisy"`, 30, 0, 30, 30)), "", Firing},
		"the others are too few to say":                    {series(served(`tenant="acme"`, 1, 0, 1, 0), served(`tenant="globex"`, 1, 0, 1, 0), served(`tenant="noisy"`, 9, 0, 100, 30)), "", Firing},
		"there are only two":                               {series(served(`tenant="acme"`, 100, 0, 100, 0), served(`tenant="noisy"`, 1, 1, 30, 30)), "", OK},
		"without the label nobody can be told from others": {series(served(`tenant=""`, 100, 0, 100, 5), others), "", OK},
	} {
		t.Run(name, func(t *testing.T) {
			scene := sceneOf(t, service, 15*time.Minute, c.series)
			all := findings(t, scene)
			require.Equal(t, Firing, all["error_ratio"].State, all["error_ratio"].Message)
			require.Equal(t, c.cause, all["error_ratio"].Cause, all["error_ratio"].Message)
			require.Equal(t, c.tenants, all["tenant_errors"].State, all["tenant_errors"].Message)
			if c.cause == Tenant {
				require.Contains(t, all["error_ratio"].Message, "; without noisy all is well")
			}
		})
	}
	plain := sceneOf(t, apiService(), 15*time.Minute, series(others, served(`tenant="noisy"`, 1, 1, 30, 30)))
	require.Empty(t, findings(t, plain)["error_ratio"].Cause, "only where a tenant's label is configured")
}

// beside are the requests of both tracks a tick, and those of them that fail.
func beside(who string, stable, stableFailed, canary, canaryFailed float64) map[string]string {
	all := map[string]string{}
	for _, track := range []struct {
		name, instance     string
		n, failed, started float64
	}{{"stable", "a:1", stable, stableFailed, 0}, {"canary", "b:1", canary, canaryFailed, hour}} {
		for status, rise := range map[string]float64{"200": track.n - track.failed, "500": track.failed} {
			key := fmt.Sprintf(`http_request_duration_seconds_count{job="api",instance=%q,track=%q,status_code=%q,%s}`, track.instance, track.name, status, who)
			all[key] = values([2]float64{0, track.started}, [2]float64{rise, hour + 80 - track.started})
		}
	}
	return all
}

func canaryService() *Service {
	service := apiService()
	service.Tracks = map[string]Labels{canaryTrack: {"track": "canary"}, stableTrack: {"track": "stable"}}
	return service
}

func TestAnotherMixOfRoutesIsNotTheCanarys(t *testing.T) {
	steady := func(canary float64) map[string]string { return beside(`route="/orders"`, 900, 1, canary, canary/900) }
	for name, c := range map[string]struct {
		series map[string]string
		cause  Cause
	}{
		"it is sent more of a route that fails as often": {series(steady(50), beside(`route="/import"`, 90, 9, 60, 6)), Traffic},
		"the route fails more often on it":               {series(steady(100), beside(`route="/import"`, 90, 9, 10, 6)), ""},
		"only the new version has the route":             {series(steady(100), beside(`route="/v2/import"`, 0, 0, 20, 10)), ""},
		"both of them":                                   {series(steady(50), beside(`route="/import"`, 90, 9, 60, 6), beside(`route="/v2"`, 0, 0, 20, 10)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			scene := sceneOf(t, canaryService(), 14*time.Minute, c.series)
			scene.Subject.Strategy = Canary
			f := findings(t, withBaseline(t, scene))["canary_errors"]
			require.Equal(t, Firing, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
			if c.cause == Traffic {
				require.Contains(t, f.Message, "within routes nothing is worse")
			}
		})
	}
}

func TestOneTenantOfACanaryIsToBlame(t *testing.T) {
	service := canaryService()
	service.TenantLabel, service.RouteLabel = "tenant", "none"
	all := series(beside(`tenant="acme"`, 900, 1, 100, 0), beside(`tenant="globex"`, 900, 1, 100, 0), beside(`tenant="noisy"`, 9, 9, 20, 20))
	scene := sceneOf(t, service, 14*time.Minute, all)
	scene.Subject.Strategy = Canary
	by := findings(t, withBaseline(t, scene))
	require.Equal(t, Firing, by["canary_errors"].State)
	require.Equal(t, Tenant, by["canary_errors"].Cause, by["canary_errors"].Message)
	require.Equal(t, OK, by["tenant_errors"].State, by["tenant_errors"].Message)
}

func TestAnotherMixOfRoutesIsNotTheVersions(t *testing.T) {
	for name, c := range map[string]struct {
		series map[string]string
		cause  Cause
	}{
		"more of a route that always failed as often": {series(served(`route="/orders"`, 1000, 1, 500, 1), served(`route="/import"`, 20, 2, 200, 20)), Traffic},
		"a route that fails more often":               {series(served(`route="/orders"`, 1000, 1, 500, 1), served(`route="/import"`, 20, 0, 200, 20)), ""},
		"more of it, and by luck more failures":       {series(served(`route="/orders"`, 28, 0.07, 20, 0.3), served(`route="/import"`, 1.5, 0.05, 8, 0.5)), Traffic},
		"a route that was not there":                  {series(served(`route="/orders"`, 1000, 1, 500, 1), served(`route="/import"`, 20, 2, 20, 2), served(`route="/v2"`, 0, 0, 100, 50)), ""},
		"no route is told":                            {served(`x="y"`, 1000, 1, 500, 20), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, sceneOf(t, apiService(), 6*time.Minute, c.series))["error_ratio"]
			require.Equal(t, Firing, f.State, f.Message)
			require.Equal(t, c.cause, f.Cause, f.Message)
		})
	}
}
