package verdict

import (
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

func TestPhases(t *testing.T) {
	p := defaultPolicy()
	require.Equal(t, []string{"0-5m", "5-30m", "30m-2h"}, p.Phases(alerts.Rolling))
	require.Equal(t, []string{"0-5m"}, p.Phases(alerts.BlueGreen))
	require.Equal(t, []string{"0-15m"}, p.Phases(alerts.Canary))
	for elapsed, phase := range map[time.Duration]string{
		0: "0-5m", 5*time.Minute - 1: "0-5m", 5 * time.Minute: "5-30m", 30 * time.Minute: "30m-2h", 2 * time.Hour: PhaseAfter,
	} {
		require.Equal(t, phase, p.Phase(alerts.Rolling, elapsed), elapsed)
	}
	p.Rolling, p.RollingPhases = 2*time.Minute, []time.Duration{15 * time.Second, 90 * time.Second, time.Hour}
	require.Equal(t, []string{"0-15s", "15s-1m30s", "1m30s-2m"}, p.Phases(alerts.Rolling))
}

func TestConfigShortensWatches(t *testing.T) {
	cfg := DefaultConfig()
	text := "grace: 5s\nwatch: {canary: 40s, rolling_phases: [10s]}\n"
	require.NoError(t, yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()))
	require.Empty(t, cfg.Validate())
	p := cfg.Policy(time.Second)
	require.Equal(t, 40*time.Second, p.Watch(alerts.Canary))
	require.Equal(t, 5*time.Minute, p.Watch(alerts.BlueGreen))
	require.Equal(t, 3*time.Second, p.Validity)
	require.Equal(t, []string{"0-10s", "10s-2h"}, p.Phases(alerts.Rolling))
}

func TestConfigFaults(t *testing.T) {
	require.Empty(t, DefaultConfig().Validate())
	require.True(t, Config{}.isZero())
	require.False(t, DefaultConfig().isZero())
	minute := model.Duration(time.Minute)
	for path, change := range map[string]func(*Config){
		"$.grace":                func(c *Config) { c.Grace = 3 * minute },
		"$.min_requests":         func(c *Config) { c.MinRequests = -1 },
		"$.require_detectable":   func(c *Config) { c.RequireDetectable = 1.2 },
		"$.watch.canary":         func(c *Config) { c.Watch.Canary = minute },
		"$.watch.after":          func(c *Config) { c.Watch.After = -1 },
		"$.watch.rolling_phases": func(c *Config) { c.Watch.RollingPhases = []model.Duration{minute, minute} },
		"$.retention":            func(c *Config) { c.Retention = 0 },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		faults := cfg.Validate()
		require.Len(t, faults, 1, path)
		require.Equal(t, path, faults[0].Path)
		require.NotEmpty(t, faults[0].Cure)
	}
}

func TestAdvice(t *testing.T) {
	r := Rollout{Registration: Registration{
		FeatureFlags: []string{"checkout-v2", "other"}, PreviousImage: "api:2.3.9", Commit: "abc",
		Migrations: []Migration{
			{Name: "1", Kind: Additive, Reverse: "never"}, {Name: "2", Kind: Data, Reverse: "undo-2.sql"}, {Name: "3", Kind: Data, Reverse: "undo-3.sql"},
		},
	}}
	scripts := []string{"undo-3.sql", "undo-2.sql"}
	require.Equal(t, &Action{
		Kind: "flag", Flag: "checkout-v2", BlockedBy: []string{},
		Alternatives: []Action{
			{Kind: "flag", Flag: "other", BlockedBy: []string{}},
			{Kind: "image", Image: "api:2.3.9", BlockedBy: []string{}, Reverse: scripts},
			{Kind: "revert", Commit: "abc", BlockedBy: []string{}, Reverse: scripts},
		},
	}, advise(r, ground{}))

	r.FeatureFlags = nil
	r.Migrations = append(r.Migrations, Migration{Name: "4", Kind: Breaking})
	require.Equal(t, []string{"schema"}, advise(r, ground{}).BlockedBy)

	r = Rollout{Registration: Registration{PreviousVersion: "2.3.9", Migrations: []Migration{{Name: "1", Kind: Data, Reverse: "undo-1.sql"}}}}
	require.Equal(t, &Action{
		Kind: "revert", BlockedBy: []string{}, Reverse: []string{"undo-1.sql"}, Alternatives: []Action{},
		Notes: []string{"no way back was declared: neither previous_image nor commit was registered, and no feature flag that is on; the version before was 2.3.9"},
	}, advise(r, ground{}), "what was declared of the schema is said all the same")
	broken := ground{
		flags:   []alerts.FlagReading{{Flag: "old", Not: "it is off already"}},
		schemas: []comparedSchema{{database: "main", changes: []alerts.SchemaChange{{Change: "table_dropped", Breaks: true}}}},
	}
	action := advise(Rollout{}, broken)
	require.Equal(t, []string{"schema"}, action.BlockedBy)
	require.Len(t, action.Schema, 1)
	require.Contains(t, action.Notes, "the flag old is no way back: it is off already")
}

func TestAFlagThatIsOnIsTheFirstWayBack(t *testing.T) {
	r := Rollout{Registration: Registration{FeatureFlags: []string{"old", "checkout-v2", "other"}, PreviousImage: "api:2.3.9"}}
	g := ground{
		flags: []alerts.FlagReading{
			{Flag: "old", Not: "it is off already"},
			{Flag: "checkout-v2", On: true, Switch: "redis main: SET ff:checkout-v2 false"},
			{Flag: "other", On: true, Switch: "unleash flags: toggle other off"},
		},
		schemas: []comparedSchema{{database: "main", changes: []alerts.SchemaChange{{Database: "main", Table: "users", Change: "table_dropped", Breaks: true}}}},
	}
	action := advise(r, g)
	require.Equal(t, "flag", action.Kind)
	require.Equal(t, "redis main: SET ff:checkout-v2 false", action.Switch)
	require.Empty(t, action.BlockedBy, "no schema blocks a flag")
	require.Len(t, action.Schema, 1)
	require.Equal(t, "other", action.Alternatives[0].Flag)
	require.Equal(t, []string{"schema"}, action.Alternatives[1].BlockedBy)
	require.Equal(t, "the flag old is no way back: it is off already", action.Notes[0])
	require.Len(t, action.Notes, 2, "a way is open, so that none need be made")

	g.flags = g.flags[:1]
	action = advise(r, g)
	require.Equal(t, "image", action.Kind)
	require.Contains(t, action.Notes[2], "no reverse script was declared")

	for range shownChanges {
		g.schemas[0].changes = append(g.schemas[0].changes, alerts.SchemaChange{Change: "table_added"})
	}
	action = advise(r, g)
	require.Len(t, action.Schema, shownChanges)
	require.True(t, action.Schema[0].Breaks)
	require.Contains(t, action.Notes, "1 more differences of the schema are not listed")
}

// An old reading may speak against a way back, never for it.
func TestASchemaOfMinutesAgoIsNoProofThatTheImageFits(t *testing.T) {
	r := Rollout{Registration: Registration{PreviousImage: "api:2.3.9"}}
	old := comparedSchema{database: "main", unknown: "connection refused", from: noon, to: noon.Add(time.Minute)}
	action := advise(r, ground{schemas: []comparedSchema{old}})
	require.Empty(t, action.BlockedBy)
	require.Equal(t, []string{"schema of main not compared: connection refused"}, action.Notes)

	old.changes = []alerts.SchemaChange{{Change: "table_dropped", Breaks: true}}
	action = advise(r, ground{schemas: []comparedSchema{old}})
	require.Equal(t, []string{"schema"}, action.BlockedBy)
	require.Contains(t, action.Notes[0], "schema of main compared as it was at 12:01:00 UTC only")
}
