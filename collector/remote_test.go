package collector

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

// countsScrapes is a service whose counter rises by one with each scrape.
func countsScrapes(t *testing.T) string {
	t.Helper()
	var n atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "jobs_total{queue=\"b\"} %[1]d\njobs_total{queue=\"a\"} %[1]d\n", n.Add(1))
	}))
	t.Cleanup(service.Close)
	return strings.TrimPrefix(service.URL, "http://")
}

func remoteOf(t *testing.T, address string) *Remote {
	t.Helper()
	remote, err := NewRemote(address)
	require.NoError(t, err)
	t.Cleanup(remote.Close)
	return remote
}

func TestARealPrometheusIsAWindow(t *testing.T) {
	server := live.Prometheus(t, fmt.Sprintf(`
global: {scrape_interval: 1s}
scrape_configs:
  - {job_name: api, static_configs: [{targets: ["%s"]}]}
`, countsScrapes(t)))
	remote := remoteOf(t, server.URL)
	var series []Series
	require.Eventually(t, func() bool {
		var err error
		series, err = remote.Select(t.Context(), time.Now().Add(-time.Minute), time.Now(), named("jobs_total"))
		require.NoError(t, err)
		return len(series) == 2 && len(series[0].Points) >= 4
	}, 30*time.Second, 200*time.Millisecond)
	require.Equal(t, "a", series[0].Labels.Get("queue"), "in the order of their labels")
	require.Equal(t, "api", series[0].Labels.Get("job"))
	points := series[0].Points
	for i, p := range points[1:] {
		require.Equal(t, points[i].V+1, p.V, "raw samples, none left out and none made up")
	}

	at := func(i int) time.Time { return time.UnixMilli(points[i].T) }
	only, err := remote.Select(t.Context(), at(0), at(2), named("jobs_total"), labels.MustNewMatcher(labels.MatchRegexp, "queue", "a|c"))
	require.NoError(t, err)
	require.Equal(t, []Series{{Labels: series[0].Labels, Points: points[1:3]}}, only, "after from, up to and with to")
	none, err := remote.Select(t.Context(), time.Time{}, at(0), named("nothing"))
	require.NoError(t, err)
	require.Empty(t, none)

	matrix, err := remote.Query(t.Context(), "sum(jobs_total)", at(1), at(1), 0)
	require.NoError(t, err)
	require.Len(t, matrix, 1)
	require.Equal(t, 2*points[1].V, matrix[0].Floats[0].F)
	require.Equal(t, points[1].T, matrix[0].Floats[0].T)
	matrix, err = remote.Query(t.Context(), "jobs_total", at(0), at(3), time.Second)
	require.NoError(t, err)
	require.Len(t, matrix, 2)
	_, err = remote.Query(t.Context(), "sum(", at(0), at(0), 0)
	require.ErrorContains(t, err, "it refused (bad_data)")
	_, err = remote.Query(t.Context(), "up", at(1), at(0), time.Second)
	require.ErrorContains(t, err, "before it begins")
	_, err = remote.Query(t.Context(), "up", at(0), at(1), 0)
	require.ErrorContains(t, err, "must be positive")

	server.Stop(t)
	_, err = remote.Select(t.Context(), at(0), at(1), named("up"))
	require.ErrorContains(t, err, "no answer: ")
}

func TestAnswersThatAreNoEvidence(t *testing.T) {
	const sample = `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1,"%s"]]}]}}`
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"a page of a proxy":  {502, "<html>bad gateway</html>", `it answered 502 Bad Gateway, and not as a Prometheus does: "<html>`},
		"nothing":            {200, "", "not as a Prometheus does"},
		"another type":       {200, `{"status":"success","data":{"resultType":"scalar","result":[]}}`, "it answered with a scalar, not with a matrix"},
		"no time":            {200, strings.Replace(fmt.Sprintf(sample, "1"), "[1,", `["x",`, 1), "not as a Prometheus does"},
		"no number":          {200, fmt.Sprintf(sample, "many"), "not as a Prometheus does"},
		"too much":           {200, strings.Repeat(" ", 3<<20), "the answer is larger than 1 MiB: select fewer series"},
		"half of it":         {200, fmt.Sprintf(sample, "1")[:40], "not as a Prometheus does"},
		"a refusal":          {422, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory"}`, "it refused (execution): query processing would load too many samples"},
		"a redirect":         {302, "", "it answered 302 Found"},
		"no order":           {200, strings.Replace(fmt.Sprintf(sample, "1"), "[1,", `[2,"1"],[1,`, 1), `it answered with samples of {__name__="up"} that are not in order of time`},
		"one time twice":     {200, strings.Replace(fmt.Sprintf(sample, "1"), "[1,", `[1,"2"],[1,`, 1), "not in order of time"},
		"one series twice":   {200, fmt.Sprintf(strings.Replace(sample, `[{`, `[{"metric":{"__name__":"up"},"values":[]},{`, 1), "1"), `it answered twice with {__name__="up"}`},
		"no such time":       {200, strings.Replace(fmt.Sprintf(sample, "1"), "[1,", "[1e300,", 1), "not as a Prometheus does"},
		"time that is none":  {200, strings.Replace(fmt.Sprintf(sample, "1"), "[1,", `["NaN",`, 1), "not as a Prometheus does"},
		"a long refusal":     {422, `{"status":"error","errorType":"execution","error":"\u001b[31mno\n` + strings.Repeat("x", 9000) + `"}`, "it refused (execution):  [31mno xxx"},
		"a partial response": {200, `{"status":"error","error":"a store is not there"}`, "it refused (200 OK): a store is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "false", r.FormValue("partial_response"))
				if c.status == http.StatusFound {
					w.Header().Set("Location", "/elsewhere")
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			remote := remoteOf(t, server.URL)
			remote.limit = 1 << 20
			_, err := remote.Select(t.Context(), time.Unix(0, 0), time.Unix(10, 0), named("up"))
			require.ErrorContains(t, err, c.want)
			require.Less(t, len(err.Error()), 600)
		})
	}
}

func TestAServerThatHangsCostsItsDeadline(t *testing.T) {
	remote := remoteOf(t, "http://user:hunter2@"+live.Hang(t)+"/base/")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := remote.Select(ctx, time.Unix(0, 0), time.Unix(10, 0), named("up"))
	require.ErrorContains(t, err, "deadline exceeded")
	require.NotContains(t, err.Error(), "hunter2")
}

func TestAUserAndAPathOfTheAddressAreUsed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		assert.Equal(t, []string{"/base/api/v1/query", "user", "hunter2"}, []string{r.URL.Path, user, password})
		assert.Equal(t, `{__name__="up"}[9000ms]`, r.FormValue("query"))
		assert.Equal(t, "10.000", r.FormValue("time"))
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[1,"0"],[2.5,"NaN"],[3,"+Inf"],[10,"1"]]}]}}`))
	}))
	defer server.Close()
	remote := remoteOf(t, strings.Replace(server.URL, "http://", "http://user:hunter2@", 1)+"/base/")
	series, err := remote.Select(t.Context(), time.Unix(1, 0), time.Unix(10, 0), named("up"))
	require.NoError(t, err)
	require.Len(t, series[0].Points, 3, "what older servers add at the beginning is left out")
	require.Equal(t, int64(2500), series[0].Points[0].T)
	for _, address := range []string{"", "prometheus:9090", "ftp://x", "http://", "http://%zz"} {
		_, err := NewRemote(address)
		require.Error(t, err, address)
	}
}

func TestRecallAsksOnceAndAnswersTheSame(t *testing.T) {
	window, err := ParseMemory(time.Second, []InputSeries{{Series: `up{job="api"}`, Values: "0+1x100"}, {Series: `late{job="api"}`, Values: "_x90 1x10"}})
	require.NoError(t, err)
	asked := &asking{Window: window}
	recall := NewRecall(asked, time.Unix(10, 0), time.Unix(90, 0))
	matcher := labels.MustNewMatcher(labels.MatchEqual, "job", "api")
	for from := int64(10); from < 90; from += 7 {
		for to := from; to <= 90; to += 11 {
			want, err := window.Select(t.Context(), time.Unix(from, 0), time.Unix(to, 0), matcher)
			require.NoError(t, err)
			got, err := recall.Select(t.Context(), time.Unix(from, 0), time.Unix(to, 0), matcher)
			require.NoError(t, err)
			require.Len(t, got, len(want))
			for i := range want {
				require.Equal(t, want[i], got[i])
			}
		}
	}
	require.Equal(t, 1, asked.times)
	outside, err := recall.Select(t.Context(), time.Unix(0, 0), time.Unix(95, 0), matcher)
	require.NoError(t, err)
	require.Len(t, outside[0].Points, 6)
	require.Equal(t, 2, asked.times, "what is outside is asked for")
}
