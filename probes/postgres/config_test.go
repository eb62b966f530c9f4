package postgres

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/probe"
)

func TestValidate(t *testing.T) {
	good := func() *Config {
		return &Config{
			Name: "main", URL: probe.NewSecret("postgresql://u:p@h/app"),
			Integrity: []Invariant{{Name: "orphans", Query: "select 1 where false"}},
		}
	}
	require.Empty(t, good().Validate())
	for _, c := range []struct {
		name    string
		spoil   func(*Config)
		path    string
		problem string
	}{
		{"no name", func(c *Config) { c.Name = "" }, "$.name", "no name"},
		{"no address", func(c *Config) { c.URL = probe.Secret{} }, "$.url", "neither url nor url_file"},
		{"two addresses", func(c *Config) { c.URLFile = "/run/secrets/url" }, "$.url_file", "at once"},
		{"not a URL", func(c *Config) { c.URL = probe.NewSecret("mysql://u:p@h/app") }, "$.url", "not a PostgreSQL URL"},
		{"a bad port", func(c *Config) { c.URL = probe.NewSecret("postgresql://u:hunter2@h:port/app") }, "$.url", "not a PostgreSQL URL"},
		{"a bad sslmode", func(c *Config) { c.URL = probe.NewSecret("postgresql://u:hunter2@h/app?sslmode=maybe") }, "$.url", "sslmode"},
		{"an unescaped password", func(c *Config) { c.URL = probe.NewSecret("postgresql://u:hunter2/%@h/app") }, "$.url", "not a PostgreSQL URL"},
		{"a negative timeout", func(c *Config) { c.StatementTimeout = -1 }, "$.statement_timeout", "negative"},
		{"a nameless invariant", func(c *Config) { c.Integrity[0].Name = "" }, "$.integrity[0].name", "without a name"},
		{"an empty query", func(c *Config) { c.Integrity[0].Query = " " }, "$.integrity[0].query", "without a query"},
		{"a negative interval", func(c *Config) { c.Integrity[0].Interval = -1 }, "$.integrity[0].interval", "negative"},
		{"too short an interval", func(c *Config) { c.Integrity[0].Interval = model.Duration(time.Second) }, "$.integrity[0].interval", "1s is too short"},
		{"two of a name", func(c *Config) { c.Integrity = append(c.Integrity, c.Integrity[0]) }, "$.integrity[1].name", `second invariant named "orphans"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := good()
			c.spoil(config)
			faults := config.Validate()
			require.Len(t, faults, 1)
			require.Equal(t, c.path, faults[0].Path)
			require.Contains(t, faults[0].Problem, c.problem)
			require.NotEmpty(t, faults[0].Cure)
			require.NotContains(t, fmt.Sprint(faults), "hunter2")
		})
	}
}

func TestAddress(t *testing.T) {
	for given, shown := range map[string]string{
		"":                                   "",
		"postgresql://u:hunter2@db:5433/app": "postgresql://u@db:5433/app",
		"postgres://u:hunter2@db/app?sslmode=require&schema=public": "postgresql://u@db:5432/app",
		"postgresql://u:hunter2@a:1,b:2/app?sslmode=disable":        "postgresql://u@a:1,b:2/app",
		"postgresql://db/app?user=u&password=hunter2":               "postgresql://u@db:5432/app",
		"host=db user=u password=hunter2 dbname=app":                "postgresql://u@db:5432/app",
		"postgresql://u:hunter2/%@db/app":                           "(not a PostgreSQL URL or connection string)",
	} {
		config := &Config{URL: probe.NewSecret(given)}
		require.Equal(t, shown, config.Address(), given)
	}
	require.Equal(t, "/run/secrets/url", (&Config{URLFile: "/run/secrets/url"}).Address())
}

// A file that is not there is found at start, not at the first reading.
func TestOpenNeedsItsFile(t *testing.T) {
	_, err := (&Config{Name: "main", URLFile: "/nowhere/url"}).Open(nil)
	require.ErrorContains(t, err, "postgres main: url_file: read secret: open /nowhere/url")
}

func TestOnlyWhatTheServerKnowsIsSent(t *testing.T) {
	config, err := parseURL(probe.NewSecret("postgresql://u@db/app?schema=public&connection_limit=5&pgbouncer=true&keepalives=1&search_path=shop&options=-cgeqo%3Doff"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"search_path": "shop", "options": "-cgeqo=off"}, config.RuntimeParams)
}

// Whatever a password does to a URL, it is not shown.
func FuzzAddressHidesPassword(f *testing.F) {
	for _, password := range []string{"hunter2", "p@ss/w:rd", "%zz", "a b", "sec#ret?", "'quoted'", "\\"} {
		f.Add(password)
	}
	f.Fuzz(func(t *testing.T, password string) {
		const mark = "hunter2"
		for _, given := range []string{
			"postgresql://user:" + mark + password + "@db:5432/app",
			"postgresql://user:" + url.PathEscape(mark+password) + "@db:5432/app",
			"postgresql://user@db:5432/app?password=" + url.QueryEscape(mark+password) + "&sslmode=maybe",
			"host=db user=user dbname=app password='" + mark + password + "'",
		} {
			config := &Config{Name: "main", URL: probe.NewSecret(given)}
			shown := config.Address() + fmt.Sprintf("%v %+v", config.Validate(), config)
			if strings.Contains(shown, mark) {
				t.Fatalf("%q is shown as %s", given, shown)
			}
		}
	})
}
