package http

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a health endpoint for the length of the test.
func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func answer(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func read(t *testing.T, config *Config) (probe.Reading, error) {
	t.Helper()
	config.Name = "api"
	require.Empty(t, config.Validate())
	p, err := config.Open(nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return p.Read(ctx)
}

func mustRead(t *testing.T, config *Config) probe.Reading {
	t.Helper()
	r, err := read(t, config)
	require.NoError(t, err)
	for _, s := range r.Samples {
		require.Contains(t, Metrics, s.Metric)
	}
	return r
}

func valueOf(r probe.Reading, m *probe.Metric, labels ...string) any {
	for _, s := range r.Samples {
		if s.Metric == m && strings.Join(s.Labels, ",") == strings.Join(labels, ",") {
			return s.Value
		}
	}
	return nil
}

func TestAnswers(t *testing.T) {
	const terminus = `{"status":"error","info":{"redis":{"status":"up"}},
		"error":{"database":{"status":"down","message":"connect ECONNREFUSED postgres://u:hunter2@db"}},
		"details":{"redis":{"status":"up"},"database":{"status":"down"}}}`
	for name, c := range map[string]struct {
		code       int
		body       string
		expect     Expect
		ill        string
		components map[string]any
		version    any
	}{
		"a plain status":     {code: 200, body: "OK"},
		"no body at all":     {code: 204},
		"a plain failure":    {code: 500, body: "Internal Server Error", ill: "status 500"},
		"a page not found":   {code: 404, body: "<html>", ill: "status 404"},
		"the status wanted":  {code: 418, expect: Expect{Status: 418}},
		"not that status":    {code: 200, expect: Expect{Status: 204}, ill: "status 200, not 204"},
		"Terminus well":      {code: 200, body: `{"status":"ok","info":{"db":{"status":"up"}},"error":{},"details":{"db":{"status":"up"}}}`, components: map[string]any{"db": "up"}},
		"Terminus ill":       {code: 503, body: terminus, ill: "status 503, error: database down", components: map[string]any{"redis": "up", "database": "down"}},
		"Terminus going":     {code: 503, body: `{"status":"shutting_down","info":{},"error":{},"details":{}}`, ill: "status 503, shutting_down"},
		"health+json passes": {code: 200, body: `{"status":"pass","version":"1","releaseId":"1.2.2","checks":{"db:latency":[{"status":"pass","observedValue":3}]}}`, components: map[string]any{"db:latency": "up"}, version: "1.2.2"},
		"health+json warns":  {code: 200, body: `{"status":"warn","version":"7","checks":{"disk":[{"status":"pass"},{"status":"warn"}]}}`, components: map[string]any{"disk": "warn"}, version: "7"},
		"health+json fails":  {code: 200, body: `{"status":"fail","checks":{"db":[{"status":"fail"}]}}`, ill: "status 200, fail: db down", components: map[string]any{"db": "down"}},
		"Spring Boot":        {code: 503, body: `{"status":"DOWN","components":{"db":{"status":"DOWN"},"disk":{"status":"UP"}}}`, ill: "status 503, DOWN: db down", components: map[string]any{"db": "down", "disk": "up"}},
		"a foreign JSON":     {code: 200, body: `{"status":200,"uptime":12,"error":"none","version":3.5}`, version: "3.5"},
		"a cut JSON":         {code: 200, body: `{"status":"error"`},
		"a list":             {code: 200, body: `[1,2]`},
		"the field wanted":   {code: 200, body: `{"ok":true,"n":3,"deep":{"x":[1,"a"],"more":1}}`, expect: Expect{JSON: map[string]any{"ok": true, "n": uint64(3), "deep": map[string]any{"x": []any{1, "a"}}}}},
		"a field that lies":  {code: 200, body: `{"ok":false}`, expect: Expect{JSON: map[string]any{"ok": true}}, ill: "status 200, not ok"},
		"a field missing":    {code: 200, body: `{"deep":{}}`, expect: Expect{JSON: map[string]any{"deep": map[string]any{"x": nil}}}, ill: "the body's field deep.x is not as expected"},
		"no JSON to look at": {code: 200, body: `OK`, expect: Expect{JSON: map[string]any{"ok": true}}, ill: "the body is not a JSON object"},
		"a body too large":   {code: 200, body: strings.Repeat(" ", maxBody) + terminus},
		"too large to check": {code: 200, body: strings.Repeat(" ", maxBody) + `{"ok":true}`, expect: Expect{JSON: map[string]any{"ok": true}}, ill: "the body is larger than 262144 bytes, so what is expected of it cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, answer(c.code, c.body))
			r := mustRead(t, &Config{URL: server.URL + "/health", Expect: c.expect})
			require.Equal(t, c.ill, r.Ill)
			require.Equal(t, any(truth(c.ill == "")), valueOf(r, healthy))
			require.EqualValues(t, c.code, valueOf(r, statusCode))
			require.Positive(t, valueOf(r, duration))
			require.Equal(t, c.version, r.Details["version"])
			if c.components == nil {
				require.NotContains(t, r.Details, "components")
			} else {
				require.Equal(t, c.components, r.Details["components"])
			}
			for component, state := range c.components {
				require.Equal(t, any(truth(state != "down")), valueOf(r, componentUp, component))
			}
			require.NotContains(t, r.Ill, "hunter2", "messages of components may hold anything")
		})
	}
}

// Whether a body said anything, nothing, or too much is told apart.
func TestViewOfTheBody(t *testing.T) {
	for body, want := range map[string]probe.ViewState{
		`{"status":"ok"}`:              probe.ViewRead,
		"OK":                           probe.ViewAbsent,
		strings.Repeat(" ", 2*maxBody): probe.ViewFailed,
	} {
		r := mustRead(t, &Config{URL: serve(t, answer(200, body)).URL})
		require.Len(t, r.Views, 1)
		require.Equal(t, want, r.Views[0].State)
	}
}

// A flood of components costs a bounded number of series, and those that are
// down are among them.
func TestComponentsAreBounded(t *testing.T) {
	var body strings.Builder
	body.WriteString(`{"status":"ok","details":{"zz-last":{"status":"down"}`)
	for i := range 1000 {
		body.WriteString(`,"` + strings.Repeat("c", 10+i%90) + string(rune('a'+i%26)) + `":{"status":"up"}`)
	}
	body.WriteString(`}}`)
	r := mustRead(t, &Config{URL: serve(t, answer(200, body.String())).URL})
	components := r.Details["components"].(map[string]any)
	require.Len(t, components, maxComponents)
	require.Equal(t, "down", components["zz-last"])
	require.Positive(t, r.Details["componentsLeftOut"])
	for name := range components {
		require.LessOrEqual(t, len(name), maxName)
	}
}

func TestRedirects(t *testing.T) {
	elsewhere := serve(t, answer(200, `{"status":"ok"}`))
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health":
			http.Redirect(w, r, "/health/", http.StatusMovedPermanently)
		case "/away":
			http.Redirect(w, r, elsewhere.URL+"/?token=hunter2", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	})
	require.Empty(t, mustRead(t, &Config{URL: server.URL + "/health"}).Ill, "on the same host it is followed")
	away := mustRead(t, &Config{URL: server.URL + "/away"})
	require.Equal(t, "status 302, a redirect to "+elsewhere.URL+" that was not followed", away.Ill)
	require.Equal(t, 0.0, valueOf(away, healthy))
	require.Contains(t, mustRead(t, &Config{URL: server.URL + "/loop"}).Ill, "status 302")
}

func TestNoAnswer(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		server := httptest.NewServer(nil)
		address := server.URL
		server.Close()
		_, err := read(t, &Config{URL: address + "/?token=hunter2"})
		require.ErrorContains(t, err, "no answer, while connecting")
		require.ErrorContains(t, err, "connection refused")
		require.NotContains(t, err.Error(), "hunter2", "the address is known, and may hold a token")
	})
	t.Run("an unknown name", func(t *testing.T) {
		_, err := read(t, &Config{URL: "http://health.invalid/"})
		require.ErrorContains(t, err, "while looking up the name")
	})
	t.Run("an untrusted certificate", func(t *testing.T) {
		server := httptest.NewUnstartedServer(answer(200, "OK"))
		server.Config.ErrorLog = nil
		server.StartTLS()
		t.Cleanup(server.Close)
		_, err := read(t, &Config{URL: server.URL})
		require.ErrorContains(t, err, "the certificate is not trusted: x509")
	})
	t.Run("TLS to a server that speaks none", func(t *testing.T) {
		server := serve(t, answer(200, "OK"))
		_, err := read(t, &Config{URL: strings.Replace(server.URL, "http:", "https:", 1)})
		require.ErrorContains(t, err, "while agreeing on TLS")
	})
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		stage  string
	}{
		"silence": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "waiting for the answer"},
		"half a body": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "reading the body"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, c.handle)
			config := &Config{URL: server.URL}
			require.NoError(t, config.Timeout.Set("100ms"))
			start := time.Now()
			_, err := read(t, config)
			require.ErrorContains(t, err, "no answer in time, while "+c.stage)
			require.Less(t, time.Since(start), 2*time.Second)
		})
	}
}

// Each reading connects anew and leaves nothing behind.
func TestKeepsNoConnection(t *testing.T) {
	open := make(chan net.Conn, 100)
	server := httptest.NewUnstartedServer(answer(200, "OK"))
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			open <- c
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	config := &Config{URL: server.URL, Name: "api"}
	p, err := config.Open(nil)
	require.NoError(t, err)
	defer p.Close()
	for range 3 {
		_, err := p.Read(t.Context())
		require.NoError(t, err)
	}
	require.Len(t, open, 3)
}

// A thousand readings, each with a connection of its own to the balancer and to
// a replica, leave nothing behind.
func TestAThousandReadingsLeaveNothingBehind(t *testing.T) {
	server := serve(t, answer(200, `{"status":"ok","version":"1.4.0","details":{"database":{"status":"up"},"redis":{"status":"up"}}}`))
	config := &Config{URL: server.URL, Name: "api", Replicas: []string{server.URL + "/replica"}}
	p, err := config.Open(nil)
	require.NoError(t, err)
	defer p.Close()
	goroutines := runtime.NumGoroutine()
	grown := live.Growth(t, func(int) {
		_, err := p.Read(t.Context())
		require.NoError(t, err)
	})
	require.Less(t, grown, int64(256<<10), "bytes in a thousand readings")
	require.Less(t, runtime.NumGoroutine()-goroutines, 20)
}

func TestRequest(t *testing.T) {
	var got *http.Request
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r })
	mustRead(t, &Config{URL: server.URL + "/health?deep=1", Method: "HEAD"})
	require.Equal(t, "HEAD", got.Method)
	require.Equal(t, "/health?deep=1", got.URL.String())
	require.Equal(t, "rollwatch", got.UserAgent())
	require.Contains(t, got.Header.Get("Accept"), "application/health+json")
}
