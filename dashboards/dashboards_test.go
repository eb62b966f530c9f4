package dashboards_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/dashboards"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The JSON that ships is what the code builds: `make generate` after a change.
func TestFilesAreCurrent(t *testing.T) {
	files, err := dashboards.All()
	require.NoError(t, err)
	for name, built := range files {
		shipped, err := os.ReadFile(name)
		require.NoError(t, err)
		require.JSONEq(t, string(built), string(shipped), "%s is not current: run make generate", name)
	}
}

// Every built-in gate has a panel, and every panel has what a viewer needs.
func TestEveryGateIsDrawn(t *testing.T) {
	files, err := dashboards.All()
	require.NoError(t, err)
	var board struct {
		Panels []struct {
			Title, Type, Description string
		}
	}
	require.NoError(t, json.Unmarshal(files["rollouts.json"], &board))
	titles := map[string]bool{}
	for _, panel := range board.Panels {
		titles[panel.Title] = true
		if panel.Type != "row" {
			require.NotEmpty(t, panel.Description, "panel %q says what it shows", panel.Title)
		}
	}
	for _, gate := range alerts.Builtin {
		require.True(t, titles[gate.Name], "gate %s has no panel", gate.Name)
	}
}

// Every query parses; that each finds data on a Prometheus that scraped
// rollwatch is shown where the whole program runs.
func TestQueriesParse(t *testing.T) {
	queries, err := dashboards.Queries()
	require.NoError(t, err)
	require.NotEmpty(t, queries)
	for _, query := range queries {
		_, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		require.NoError(t, err, query)
	}
}
