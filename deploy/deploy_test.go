// Package deploy_test holds what ships to what the house promises of it.
package deploy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

func TestMain(m *testing.M) { live.Main(m) }

// A stack is the part of docker-compose.yml that the promises are about.
type stack struct {
	Services map[string]struct {
		Image    string   `yaml:"image"`
		Command  []string `yaml:"command"`
		Networks []string `yaml:"networks"`
		Ports    []string `yaml:"ports"`
		Volumes  []string `yaml:"volumes"`
	} `yaml:"services"`
	Networks map[string]struct {
		Internal bool `yaml:"internal"`
	} `yaml:"networks"`
}

func composed(t *testing.T) stack {
	t.Helper()
	text, err := os.ReadFile("../docker-compose.yml")
	require.NoError(t, err)
	var s stack
	require.NoError(t, yaml.Unmarshal(text, &s))
	return s
}

// Nothing of the databases can be reached from outside their network, and what
// is published is published to this machine only.
func TestNothingOfDataIsPublished(t *testing.T) {
	s := composed(t)
	require.True(t, s.Networks["data"].Internal)
	for name, service := range s.Services {
		for _, network := range service.Networks {
			require.Contains(t, s.Networks, network, name)
		}
		for _, port := range service.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s publishes %s to everybody", name, port)
		}
	}
	for _, name := range []string{"timescaledb", "redis"} {
		require.Equal(t, []string{"data"}, s.Services[name].Networks)
		require.Empty(t, s.Services[name].Ports)
	}
}

// A Redis that evicts keys loses jobs.
func TestRedisEvictsNothing(t *testing.T) {
	require.Contains(t, strings.Join(composed(t).Services["redis"].Command, " "), "--maxmemory-policy noeviction")
}

// Every file that the stack mounts is in the repository.
func TestMountedFilesAreThere(t *testing.T) {
	for name, service := range composed(t).Services {
		for _, volume := range service.Volumes {
			if source, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(source, "./") {
				require.FileExists(t, "../"+source+marker(source), name)
			}
		}
	}
}

// marker is a file that shows that a mounted folder holds what it is for.
func marker(source string) string {
	switch source {
	case "./dashboards":
		return "/rollouts.json"
	case "./deploy/grafana/provisioning":
		return "/datasources/prometheus.yml"
	default:
		return ""
	}
}

// The real programs take the configurations that ship.
func TestServersTakeTheirConfiguration(t *testing.T) {
	live.Promtool(t, "check", "config", "prometheus/prometheus.yml")
	text, err := os.ReadFile("alertmanager/alertmanager.yml")
	require.NoError(t, err)
	live.Alertmanager(t, string(text))
}
