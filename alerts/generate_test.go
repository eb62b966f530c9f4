package alerts

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/feature"
)

//go:generate go test -run ^TestGenerated -update .

var update = flag.Bool("update", false, "write the files that are generated from the table of gates")

// generated compares a committed file with what the code makes of it now, or
// writes it.
func generated(t *testing.T, path string, content []byte) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, content, 0o644))
	}
	committed, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(committed), string(content), "%s has drifted from the code: run go generate ./alerts", path)
}

// exampleServices are what the committed rules are rendered for.
func exampleServices() []*Service {
	api := &Service{Name: "api", Metrics: Metrics{Preset: DefaultPreset}, Queues: []string{"jobs"}, Databases: []string{"main"}}
	api.Tracks = map[string]Labels{canaryTrack: {"track": "canary"}, stableTrack: {"track": "stable"}}
	api.TenantLabel = "tenant"
	api.WorkerTracks = true
	api.Health.URL = "http://127.0.0.1:3001/health"
	api.Features = []*feature.Config{{Service: "api", Name: "login", HTTP: &feature.Request{URL: "http://127.0.0.1:3001/login?tenant={{.tenant}}"}}}
	return []*Service{api}
}
