package flags

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

func TestMain(m *testing.M) { live.Main(m) }

func open(t *testing.T, url string, config Config) probe.Probe {
	t.Helper()
	config.Name, config.Kind, config.Redis = "flags", KindRedis, "main"
	require.Empty(t, config.Validate())
	return redistest.Open(t, &config, redistest.Links(t, url))
}

// stateIn is the state of a flag by its info series.
func stateIn(r probe.Reading, flag string) string {
	for _, s := range r.Samples {
		if s.Metric == info && s.Labels[0] == flag {
			return s.Labels[1]
		}
	}
	return ""
}

func TestFlagsInRedisAreReadWithTheirOverrides(t *testing.T) {
	server := live.Redis(t)
	for key, value := range map[string]string{
		"ff:checkout-v2": "false", "ff:checkout-v2:company:7": "true", "ff:checkout-v2:company:8": "true",
		"ff:checkout-v2:workspace:a:b": "false", "ff:dark": "1", "ff:search": `{"enabled":true,"by":"ann"}`,
		"ff:only-some:workspace:3": "on", "ff:odd": "maybe", "other:flag": "true", "ffx:flag": "true",
	} {
		server.Do(t, "set", key, value)
	}
	server.Do(t, "hset", "ff:hash", "enabled", "true")
	p := open(t, server.URL, Config{})
	r := redistest.Read(t, p)
	require.Equal(t, 5.0, redistest.Value(t, r, "rollwatch_flags"))
	for flag, state := range map[string]string{
		"checkout-v2": "partial", "dark": "on", "search": "on", "only-some": "partial", "odd": "unclear",
	} {
		require.Equal(t, state, stateIn(r, flag), flag)
	}
	require.Equal(t, map[string]int{"checkout-v2": 0, "dark": 1, "search": 1}, redistest.By(r, "rollwatch_flag_enabled"))
	require.Equal(t, 2.0, redistest.Value(t, r, "rollwatch_flag_overrides", "checkout-v2", "company", "on"))
	require.Equal(t, 1.0, redistest.Value(t, r, "rollwatch_flag_overrides", "checkout-v2", "workspace", "off"))
	for view, state := range redistest.States(r) {
		require.Equal(t, probe.ViewRead, state, view)
	}
}

func TestAChangeIsSeenWithItsTime(t *testing.T) {
	server := live.Redis(t)
	server.Do(t, "mset", "ff:a", "false", "ff:b", "true", "ff:b:company:1", "false", "ff:gone", "true")
	p := open(t, server.URL, Config{})
	r := redistest.Read(t, p)
	require.NotContains(t, redistest.Names(r), "rollwatch_flag_changed_timestamp_seconds", "what it was before is not known")
	require.Equal(t, map[string]int{"a": 0, "b": 0, "gone": 0}, redistest.By(r, "rollwatch_flag_changes_total"))

	server.Do(t, "set", "ff:a", "true")
	server.Do(t, "set", "ff:b:company:1", "true")
	server.Do(t, "del", "ff:gone")
	r = redistest.ReadOnly(t, p)
	require.Equal(t, map[string]int{"a": 1, "b": 1}, redistest.By(r, "rollwatch_flag_changes_total"))
	require.InDelta(t, time.Now().Unix(), redistest.Value(t, r, "rollwatch_flag_changed_timestamp_seconds", "a"), 5)
	events := r.Details["changes"].([]event)
	require.Len(t, events, 3)
	for i := range events {
		require.NotEmpty(t, events[i].At)
		events[i].At = ""
	}
	require.ElementsMatch(t, []event{
		{Flag: "a", From: "off", To: "on"}, {Flag: "b", Of: "company:1", From: "off", To: "on"}, {Flag: "gone", From: "on"},
	}, events)

	server.Do(t, "set", "ff:new", "true")
	require.Empty(t, stateIn(redistest.ReadOnly(t, p), "new"), "found by the next scan")
	r = redistest.Read(t, p)
	require.Equal(t, 1.0, redistest.Value(t, r, "rollwatch_flag_changes_total", "new"))
}

func TestAFlagPastItsExpectedRemovalIsOverdue(t *testing.T) {
	server := live.Redis(t)
	server.Do(t, "mset", "ff:old", "true", "ff:young", "true", "ff:kept", "true", "ff:stranger", "true")
	file := filepath.Join(t.TempDir(), "flags.json")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	for name, text := range map[string]string{
		"a list":       `[{"name":"old","expectedRemoval":"2020-01-31"},{"key":"young","expectedRemoval":"2999-12-31"},{"name":"kept"}]`,
		"a map":        `{"old":{"expectedRemoval":"2020-01-31T10:00:00Z"},"young":{"expectedRemoval":"2999-12-31"},"kept":{"owner":"ann"}}`,
		"under flags":  `{"flags":{"old":{"expectedRemoval":"2020-01-31"},"young":{"expectedRemoval":"2999-12-31"},"kept":{}}}`,
		"tabs":         "{\n\t\"old\": {\n\t\t\"expectedRemoval\": \"2020-01-31\"},\n\t\"young\": {\"expectedRemoval\": \"2999-12-31\"}, \"kept\": {}}",
		"YAML, a list": "- name: old\n  expectedRemoval: 2020-01-31\n- name: young\n  expectedRemoval: 2999-12-31\n- name: kept\n",
	} {
		t.Run(name, func(t *testing.T) {
			write(text)
			r := redistest.Read(t, open(t, server.URL, Config{RegistryFile: file}))
			require.Equal(t, map[string]int{"old": 1, "young": 0}, redistest.By(r, "rollwatch_flag_overdue"))
			require.Equal(t, 1.0, redistest.Value(t, r, "rollwatch_flags_unregistered"))
			require.Equal(t, []string{"old"}, r.Details["overdue"])
			require.Equal(t, []string{"stranger"}, r.Details["unregistered"])
		})
	}

	// A registry that cannot be read costs nothing but its own part.
	p := open(t, server.URL, Config{RegistryFile: file})
	redistest.Read(t, p)
	for text, why := range map[string]string{
		`[{"name":"old","expectedRemoval":"soon"}]`: `flag old: expectedRemoval "soon" is no date`,
		`[{"owner":"ann"}]`:                         "flag 1 has no name",
		`"text"`:                                    "want a list of flags",
		"\t{":                                       "neither YAML nor JSON",
	} {
		write(text)
		r := redistest.Read(t, p)
		require.Equal(t, probe.ViewFailed, redistest.States(r)["registry"], text)
		require.Equal(t, 4.0, redistest.Value(t, r, "rollwatch_flags"))
		require.Equal(t, 1.0, redistest.Value(t, r, "rollwatch_flag_overdue", "old"), "what was known still holds")
		for _, v := range r.Views {
			if v.Name == "registry" {
				require.ErrorContains(t, v.Err, why)
			}
		}
	}
}

func TestARegisteredFlagIsReadWithoutAScan(t *testing.T) {
	server := live.Redis(t)
	server.Do(t, "set", "ff:known", "true")
	file := filepath.Join(t.TempDir(), "flags.yml")
	require.NoError(t, os.WriteFile(file, []byte("known: {}\n"), 0o600))
	r := redistest.Read(t, open(t, redistest.As(t, server, "%R~ff:*", "mget"), Config{RegistryFile: file}))
	require.Equal(t, probe.ViewDenied, redistest.States(r)["SCAN"])
	require.Equal(t, "on", stateIn(r, "known"))
	whole := redistest.Read(t, open(t, redistest.As(t, server, "%R~ff:*", Commands...), Config{RegistryFile: file}))
	require.Equal(t, probe.ViewRead, redistest.States(whole)["SCAN"])
}

func TestMoreFlagsThanAreShownAreCounted(t *testing.T) {
	server := live.Redis(t)
	for i := range 12 {
		pairs := []any{"mset"}
		for j := range 1000 {
			pairs = append(pairs, "ff:flag-"+string(rune('a'+i))+strings.Repeat("x", j%50)+"-"+time.Duration(j).String(), "true")
		}
		server.Do(t, pairs...)
	}
	r := redistest.Read(t, open(t, server.URL, Config{}))
	require.Equal(t, 10_000.0, redistest.Value(t, r, "rollwatch_flags"))
	require.Equal(t, 2000+9000, r.Dropped)
	require.Len(t, redistest.By(r, "rollwatch_flag_changes_total"), 1000)
}

// features is an answer of /client/features, as Unleash 7 sends it.
const features = `{"version":2,"features":[
 {"name":"all","type":"release","enabled":true,"project":"default","stale":false,"strategies":[{"name":"flexibleRollout","constraints":[],"parameters":{"groupId":"all","rollout":"100","stickiness":"default"},"variants":[]}],"variants":[]},
 {"name":"half","type":"experiment","enabled":true,"strategies":[{"name":"flexibleRollout","constraints":[],"parameters":{"rollout":"50"}}]},
 {"name":"tenant","type":"permission","enabled":true,"strategies":[{"name":"default","constraints":[{"contextName":"companyId","operator":"IN","values":["7"]}],"parameters":{}}]},
 {"name":"named","type":"release","enabled":true,"strategies":[{"name":"userWithId","parameters":{"userIds":"1,2"}}]},
 {"name":"never","type":"kill-switch","enabled":false,"strategies":[]}],
 "query":{"environment":"production"},"meta":{"etag":"\"1\""}}`

func TestFlagsOfUnleashAreReadAndTheirChangesSeen(t *testing.T) {
	body, asked := features, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch {
		case r.URL.Path != "/api/client/features":
			http.NotFound(w, r)
		case r.Header.Get("Authorization") != "*:production.secret":
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("If-None-Match") == tagOf(body):
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("ETag", tagOf(body))
			_, _ = w.Write([]byte(body))
		}
	}))
	t.Cleanup(server.Close)
	config := Config{Name: "flags", Kind: KindUnleash, URL: server.URL + "/api/", APIKey: probe.NewSecret("*:production.secret")}
	require.Empty(t, config.Validate())
	p, err := config.Open(nil)
	require.NoError(t, err)
	r := redistest.Read(t, p)
	for flag, state := range map[string]string{"all": "on", "half": "partial", "tenant": "partial", "named": "partial", "never": "off"} {
		require.Equal(t, state, stateIn(r, flag), flag)
	}
	require.Equal(t, 5.0, redistest.Value(t, redistest.Read(t, p), "rollwatch_flags"), "not modified is not empty")

	body = strings.Replace(body, `"rollout":"50"`, `"rollout":"80"`, 1)
	body = strings.Replace(body, `"enabled":false`, `"enabled":true`, 1)
	r = redistest.Read(t, p)
	require.Equal(t, map[string]int{"all": 0, "half": 1, "tenant": 0, "named": 0, "never": 1}, redistest.By(r, "rollwatch_flag_changes_total"))
	require.Equal(t, 3, asked)

	for url, why := range map[string]string{server.URL: "404 Not Found", "http://127.0.0.1:1": "connection refused"} {
		config.URL = url
		p, err := config.Open(nil)
		require.NoError(t, err)
		_, err = p.Read(context.Background())
		require.ErrorContains(t, err, why)
	}
	config.URL, config.APIKey = server.URL+"/api", probe.NewSecret("wrong")
	p, err = config.Open(nil)
	require.NoError(t, err)
	_, err = p.Read(context.Background())
	require.ErrorContains(t, err, "token of type client")
}

func tagOf(body string) string { return fmt.Sprintf(`W/"%x"`, sha256.Sum256([]byte(body))) }

func TestFaultsOfTheConfiguration(t *testing.T) {
	for path, config := range map[string]Config{
		"$.name":         {Kind: KindRedis, Redis: "main"},
		"$.redis":        {Name: "flags", Kind: KindRedis},
		"$.url":          {Name: "flags", Kind: KindUnleash, URL: "unleash"},
		"$.kind":         {Name: "flags", Kind: "launchdarkly"},
		"$.api_key_file": {Name: "flags", Kind: KindUnleash, URL: "http://u/api", APIKey: probe.NewSecret("x"), APIKeyFile: "y"},
	} {
		faults := config.Validate()
		require.Len(t, faults, 1, path)
		require.Equal(t, path, faults[0].Path)
		require.NotEmpty(t, faults[0].Cure)
	}
}

func FuzzForeignText(f *testing.F) {
	f.Add([]byte(features))
	f.Add([]byte("- name: old\n  expectedRemoval: 2020-01-31\n"))
	f.Add([]byte("ff:a:company:7"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if flags, err := parseFeatures(text); err == nil {
			for name, f := range flags {
				if !validName(name) || f.state() == "" {
					t.Fatalf("%q: %+v", name, f)
				}
			}
		}
		if r, err := parseRegistry(text); err == nil {
			for name := range r {
				if !validName(name) {
					t.Fatalf("%q", name)
				}
			}
		}
		parseValue(string(text))
		if name, _, _, ok := parseKey(string(text), "ff"); ok && !validName(name) {
			t.Fatalf("%q", name)
		}
	})
}
