package feature

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	probehttp "github.com/rollwatch/rollwatch/probes/http"
	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
)

func TestMain(m *testing.M) { live.Main(m) }

// A shop is a service whose login fails for some tenants.
type shop struct {
	*httptest.Server

	mu     sync.Mutex
	broken map[string]bool
	asked  map[string]int
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{broken: map[string]bool{}, asked: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		tenant := r.URL.Query().Get("tenant")
		s.asked[tenant]++
		if s.broken[tenant] {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, `{"ok":true}`)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) breaks(tenant string, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken[tenant] = broken
}

func login(s *shop, tenants Tenants) *Config {
	return &Config{
		Service: "api", Name: "login", Interval: model.Duration(time.Nanosecond), MaxPerSecond: 1e6,
		HTTP:    &Request{URL: s.URL + "/login?tenant={{.tenant}}", Expect: probehttp.Expect{JSON: map[string]any{"ok": true}}},
		Tenants: tenants,
	}
}

func open(t *testing.T, config *Config) *trier {
	t.Helper()
	require.Empty(t, config.Validate())
	p, err := config.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	tries := p.(*trier)
	require.NoError(t, tries.Discover(t.Context()))
	return tries
}

func read(t *testing.T, p *trier) probe.Reading {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	reading, err := p.Read(ctx)
	require.NoError(t, err)
	return reading
}

// value is the value of the one series with these label values.
func value(t *testing.T, r probe.Reading, name string, labels ...string) (float64, bool) {
	t.Helper()
	for _, s := range r.Samples {
		if s.Metric.Name == name && strings.Join(s.Labels, "/") == strings.Join(labels, "/") {
			return s.Value, true
		}
	}
	return 0, false
}

func TestALoginThatBreaksForOneTenantIsTold(t *testing.T) {
	s := openShop(t)
	p := open(t, login(s, Tenants{List: []string{"acme", "globex", "näme & söhne"}}))
	r := read(t, p)
	require.Empty(t, r.Ill)
	works, _ := value(t, r, TenantsMetric, "works")
	require.Equal(t, 3.0, works)
	require.Equal(t, 1, s.asked["näme & söhne"], "a tenant's name reaches the service as it is")

	s.breaks("globex", true)
	r = read(t, p)
	failures, _ := value(t, r, FailuresMetric, "globex")
	require.Equal(t, 1.0, failures)
	require.Empty(t, r.Ill, "once may be a pod that left")

	r = read(t, p)
	require.Equal(t, "it fails for globex: status 500", r.Ill)
	failures, _ = value(t, r, FailuresMetric, "globex")
	require.Equal(t, 2.0, failures)
	since, _ := value(t, r, FailingMetric, "globex")
	worked, known := value(t, r, LastSuccessMetric, "globex")
	require.True(t, known)
	require.Less(t, worked, since)
	up, _ := value(t, r, "rollwatch_feature_up", "acme")
	require.Equal(t, 1.0, up)
	_, failing := value(t, r, FailuresMetric, "acme")
	require.False(t, failing, "only who fails is told to fail")

	s.breaks("globex", false)
	require.Empty(t, read(t, p).Ill)
}

// A feature of several steps works when its last step does, and says which failed.
func TestStepsHandOnWhatTheySave(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/login":
			fmt.Fprintf(w, `{"data":{"token":"s%s&t","n":7}}`, json.RawMessage(body[len(`{"tenant":"`):len(body)-2]))
		case "/orders/7":
			got = r.Header.Get("Authorization")
			w.WriteHeader(http.StatusFound)
		}
	}))
	defer s.Close()
	config := &Config{
		Service: "api", Name: "orders", Tenants: Tenants{List: []string{"acme"}}, Interval: model.Duration(time.Nanosecond),
		Steps: []Request{
			{Method: "POST", URL: s.URL + "/login", Body: `{"tenant":"{{.tenant}}"}`, Save: map[string]string{"token": "data.token", "n": "$.data.n"}},
			{
				URL: s.URL + "/orders/{{.n}}", Expect: probehttp.Expect{Status: 302},
				Headers: map[string]probe.Secret{"Authorization": probe.NewSecret("Bearer {{.token}}")},
			},
		},
	}
	require.Empty(t, read(t, open(t, config)).Ill)
	require.Equal(t, "Bearer sacme&t", got)

	config.Steps[1].Expect.Status = 200
	p := open(t, config)
	read(t, p)
	require.Equal(t, "it fails for acme: step 2: status 302, not 200", read(t, p).Ill)
}

// A service that hangs costs one reading its time, and no more.
func TestAServiceThatHangsIsAFeatureThatFails(t *testing.T) {
	config := &Config{
		Service: "api", Name: "login", Timeout: model.Duration(50 * time.Millisecond), Interval: model.Duration(time.Nanosecond),
		HTTP: &Request{URL: "http://" + live.Hang(t) + "/"},
	}
	p := open(t, config)
	read(t, p)
	require.Equal(t, "it fails: no answer in time", read(t, p).Ill)
}

// What ends a reading is no fault of the service's.
func TestAReadingThatIsCalledOffBlamesNobody(t *testing.T) {
	s := openShop(t)
	p := open(t, login(s, Tenants{List: []string{"acme"}}))
	read(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.Read(ctx)
	require.ErrorIs(t, err, context.Canceled)
	r := read(t, p)
	failed, _ := value(t, r, "rollwatch_feature_tries_total", "failed")
	require.Zero(t, failed)
	worked, _ := value(t, r, "rollwatch_feature_tries_total", "worked")
	require.Equal(t, 2.0, worked, "it keeps its turn")
}

func TestTenantsOfAFileAndOfADatabase(t *testing.T) {
	s := openShop(t)
	path := filepath.Join(t.TempDir(), "tenants")
	require.NoError(t, os.WriteFile(path, []byte("# ours\nacme\n\nglobex\nacme\nbad\x01name\n"), 0o600))
	r := read(t, open(t, login(s, Tenants{File: path})))
	works, _ := value(t, r, TenantsMetric, "works")
	require.Equal(t, 2.0, works)
	require.Equal(t, 1, r.Details["tenantsLeftOut"])

	pg := live.Postgres(t)
	pg.Exec(t, "create table companies (slug text); insert into companies select 'c' || n from generate_series(1, 1500) n")
	p := open(t, login(s, Tenants{
		Postgres: "main", Query: "select slug from companies",
		Database: &postgres.Config{Name: "main", URL: probe.NewSecret(pg.URL)},
	}))
	s.breaks("c700", true)
	read(t, p)
	r = read(t, p)
	require.Equal(t, "it fails for c700: status 500", r.Ill)
	works, _ = value(t, r, TenantsMetric, "works")
	require.Equal(t, 1499.0, works)
	_, listed := value(t, r, "rollwatch_feature_up", "c1")
	require.False(t, listed, "of so many only those are told one by one for whom it fails")
}

// The rate bounds what a service is asked, however many tenants it has.
func TestTheRateIsKept(t *testing.T) {
	s := openShop(t)
	var many []string
	for i := range 1000 {
		many = append(many, fmt.Sprint(i))
	}
	config := login(s, Tenants{List: many})
	config.MaxPerSecond, config.Timeout = 100, model.Duration(100*time.Millisecond)
	p := open(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r, err := p.Read(ctx)
	require.NoError(t, err)
	tried, _ := value(t, r, "rollwatch_feature_tries_total", "worked")
	require.LessOrEqual(t, tried, 50.0+atOnce)
	require.Positive(t, tried)
	untried, _ := value(t, r, TenantsMetric, "untried")
	require.Equal(t, 1000-tried, untried)
}

func TestFaultsOfAFeature(t *testing.T) {
	url := "http://api/"
	for name, c := range map[string]struct {
		config Config
		path   string
	}{
		"no request":            {Config{}, "$.http"},
		"both":                  {Config{HTTP: &Request{URL: url}, Steps: []Request{{URL: url}}}, "$.steps"},
		"no address":            {Config{HTTP: &Request{URL: "api"}}, "$.http.url"},
		"a password in it":      {Config{HTTP: &Request{URL: "http://a:b@api/"}}, "$.http.url"},
		"an unknown name":       {Config{HTTP: &Request{URL: url + "{{.tenantt}}"}}, "$.http"},
		"saved too late":        {Config{Steps: []Request{{URL: url + "{{.x}}"}, {URL: url, Save: map[string]string{"x": "x"}}}}, "$.steps[0]"},
		"a name that is taken":  {Config{HTTP: &Request{URL: url, Save: map[string]string{"tenant": "x"}}}, "$.http.save.tenant"},
		"two sources":           {Config{HTTP: &Request{URL: url}, Tenants: Tenants{List: []string{"a"}, File: "f"}}, "$.tenants"},
		"a query without where": {Config{HTTP: &Request{URL: url}, Tenants: Tenants{Query: "select 1"}}, "$.tenants"},
		"a negative rate":       {Config{HTTP: &Request{URL: url}, MaxPerSecond: -1}, "$.max_per_second"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Name = "login"
			faults := c.config.Validate()
			require.Len(t, faults, 1, "%v", faults)
			require.Equal(t, c.path, faults[0].Path)
		})
	}
}

// The template of a header may hold a token: no error shows it.
func TestAFaultyHeaderDoesNotShow(t *testing.T) {
	config := Config{Name: "login", HTTP: &Request{URL: "http://api/", Headers: map[string]probe.Secret{"Authorization": probe.NewSecret("hunter2 {{.nobody}}")}}}
	faults := config.Validate()
	require.Len(t, faults, 1)
	require.NotContains(t, fmt.Sprint(faults), "hunter2")
}
