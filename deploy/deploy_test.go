// Package deploy_test holds what ships to what the house promises of it.
package deploy_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

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

// An alert of the shipped rules that asks for a rollback goes to who is on call.
func TestAlertsThatAskForARollbackGoToOnCall(t *testing.T) {
	text, err := os.ReadFile("alertmanager/alertmanager.yml")
	require.NoError(t, err)
	alertmanager := live.Alertmanager(t, string(text))
	rules := shippedAlerts(t)
	body, err := json.Marshal(rules)
	require.NoError(t, err)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := client.Post(alertmanager.URL+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)

	var routed []struct {
		Labels    map[string]string
		Receivers []struct{ Name string }
	}
	require.Eventually(t, func() bool {
		response, err := client.Get(alertmanager.URL + "/api/v2/alerts")
		require.NoError(t, err)
		defer response.Body.Close()
		require.NoError(t, json.NewDecoder(response.Body).Decode(&routed))
		return len(routed) == len(rules)
	}, 10*time.Second, 50*time.Millisecond)
	for _, alert := range routed {
		receiver := map[string]string{"critical": "on-call", "warning": "team"}[alert.Labels["severity"]]
		require.Len(t, alert.Receivers, 1, alert.Labels)
		require.Equal(t, receiver, alert.Receivers[0].Name, alert.Labels)
	}
}

// A firing is an alert as Alertmanager takes it.
type firing struct {
	Labels map[string]string `json:"labels"`
}

// shippedAlerts are the alerts of the shipped rules, as if all fired.
func shippedAlerts(t *testing.T) []firing {
	t.Helper()
	text, err := os.ReadFile("../alerts/rollback.rules.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert  string            `yaml:"alert"`
				Labels map[string]string `yaml:"labels"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	var all []firing
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Alert != "" {
				rule.Labels["alertname"] = rule.Alert
				all = append(all, firing{rule.Labels})
			}
		}
	}
	require.NotEmpty(t, all)
	return all
}
