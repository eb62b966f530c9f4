package alerts

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

const rulesFile = "rollback.rules.yml"

func render(t *testing.T, services []*Service, cfg Config) ([]byte, *rulefmt.RuleGroups) {
	t.Helper()
	text, err := Rules(services, cfg, interval)
	require.NoError(t, err)
	groups, faults := rulefmt.Parse(text, false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	require.Empty(t, faults, "%s", text)
	return text, groups
}

func TestGeneratedRules(t *testing.T) {
	text, _ := render(t, exampleServices(), Config{})
	generated(t, rulesFile, text)
}

func TestRulesOfEveryPresetAndOfOwnSeriesParse(t *testing.T) {
	below := 0.9
	cfg := Config{Custom: []Custom{{Name: "checkout", Service: "own", Signal: "sum(rate(ok[5m]))\n/ sum(rate(all[5m]))", Below: &below, For: model.Duration(5 * time.Minute)}}}
	services := []*Service{{Name: "own", Metrics: Metrics{
		Requests: `http_requests_total`, Errors: `http_requests_total{code=~"5.."}`, Latency: `http_request_duration_milliseconds{kind="server"}`,
	}}}
	for _, preset := range Presets {
		services = append(services, &Service{Name: preset.Name, Metrics: Metrics{Preset: preset.Name}})
	}
	text, groups := render(t, services, cfg)
	require.Len(t, groups.Groups, 5*len(services)+1)
	require.Contains(t, string(text), `http_request_duration_milliseconds_bucket{kind="server",job="own",le="+Inf"}[5m]`)
}

func TestEveryAlertSaysWhatItIsAndHasARunbook(t *testing.T) {
	above := 1.0
	cfg := Config{Custom: []Custom{{Name: "mine", Service: "api", Signal: "x", Above: &above}}}
	_, groups := render(t, exampleServices(), cfg)
	pages := map[string]bool{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" {
				continue
			}
			require.Regexp(t, `^Rollwatch([A-Z][a-z0-9]+)+$`, rule.Alert)
			require.Contains(t, []string{"info", "warning", "critical"}, rule.Labels["severity"], rule.Alert)
			asks := map[string]string{"critical": "rollback", "warning": "hold"}[rule.Labels["severity"]]
			if rule.Labels["gate"] == "" {
				asks = "" // it is of no rollout, and must not hold one
			}
			require.Equal(t, asks, rule.Labels["rollwatch"], rule.Alert)
			require.Regexp(t, `^[A-Z].*\.$`, rule.Annotations["summary"], rule.Alert)
			require.NotContains(t, rule.Annotations["summary"], "{{", "a summary is static")
			require.Regexp(t, `^[^{]*{{ \$value|^api has|{{ \$labels.target }} of api`, rule.Annotations["description"], rule.Alert)
			page := filepath.Base(rule.Annotations["runbook_url"])
			require.Equal(t, rule.Alert+".md", page)
			pages[page] = true
		}
	}
	require.Len(t, pages, len(Builtin)+2, "of each gate, of all custom ones, and of queues that may be evicted")
	committed, err := fs.Glob(os.DirFS("../docs/runbooks"), "Rollwatch*.md")
	require.NoError(t, err)
	for page := range pages {
		require.Contains(t, committed, page)
		text, err := os.ReadFile(filepath.Join("../docs/runbooks", page))
		require.NoError(t, err)
		require.Equal(t, []string{"## Meaning", "## Impact", "## Diagnosis", "## Mitigation"},
			regexp.MustCompile(`(?m)^## .*$`).FindAllString(string(text), -1), page)
		require.True(t, strings.HasPrefix(string(text), "# "+strings.TrimSuffix(page, ".md")+"\n"), page)
	}
}

// TestRulesPageWhenTheyShould runs the rule tests of operators' own tool on the
// committed rules.
func TestRulesPageWhenTheyShould(t *testing.T) {
	live.Promtool(t, "check", "rules", rulesFile)
	live.Promtool(t, "test", "rules", "rollback_test.yml")
	tests, err := os.ReadFile("rollback_test.yml")
	require.NoError(t, err)
	for _, gate := range Builtin {
		require.Contains(t, string(tests), "\n        alertname: "+gate.AlertName()+"\n        exp_alerts:", "a test sees it page")
		require.Regexp(t, `eval_time: \w+, alertname: `+gate.AlertName()+`}`, string(tests), "and another one not")
	}
}
