package alerts

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/collector"
)

func TestWhatTheBucketsCannotResolveIsKnownFromTheFirstScrape(t *testing.T) {
	service := apiService()
	gates := Gates(Config{}, service)
	for name, c := range map[string]struct {
		counts map[string]string // by le
		says   string
		known  bool
	}{
		"fine":       {map[string]string{"0.1": "1000", "0.3": "1000", "+Inf": "1000"}, "", true},
		"too coarse": {map[string]string{"0.1": "1000", "5.0": "1000", "+Inf": "1000"}, "the first bucket edge above 3 x p99 (99ms) is 5s, 50.5 x p99: add an edge near 297ms", true},
		"too short":  {map[string]string{"0.1": "1000", "0.2": "1000", "+Inf": "1000"}, "the buckets end at 200ms, below 3 x p99 (99ms) = 297ms: add an edge near it", true},
		"too few":    {map[string]string{"0.1": "50", "5.0": "50", "+Inf": "50"}, "", false},
	} {
		all := map[string]string{}
		var page []collector.Series
		for le, n := range c.counts {
			series := `http_request_duration_seconds_bucket{job="api",instance="a:1",status_code="200",le="` + le + `"}`
			all[series] = n + "x400"
			page = append(page, collector.Series{
				Labels: labels.FromStrings("__name__", "http_request_duration_seconds_bucket", "job", "api", "status_code", "200", "le", le),
				Points: []collector.Point{{V: map[string]float64{"1000": 1000, "50": 50}[n]}},
			})
		}
		advice, known, err := CheckBuckets(t.Context(), gates, sceneOf(t, service, time.Minute, all))
		require.NoError(t, err)
		require.Equal(t, c.says, advice, name)
		require.Equal(t, c.known, known, name)
		advice, known = CheckPage(gates, service, append(page, collector.Series{Labels: labels.FromStrings("__name__", "up", "job", "api")}))
		require.Equal(t, c.says, advice, name)
		require.Equal(t, c.known, known, name)
	}
	site := &Service{Name: "site"}
	_, known, err := CheckBuckets(t.Context(), Gates(Config{}, site), Scene{Service: site})
	require.NoError(t, err)
	require.True(t, known, "a service without latency has nothing to be resolved")
}

func TestWhatAPageDoesNotShowOfTheConfigurationIsSaid(t *testing.T) {
	count := func(more ...string) collector.Series {
		pairs := append([]string{"__name__", "http_request_duration_seconds_count", "job", "api"}, more...)
		return collector.Series{Labels: labels.FromStrings(pairs...)}
	}
	service := func(change func(*Service)) *Service {
		s := &Service{Name: "api", VersionLabel: "version", TenantLabel: "tenant", Metrics: Metrics{Preset: "prom-client"}}
		change(s)
		return s
	}
	as := func(*Service) {}
	full := []string{"status_code", "200", "version", "1", "tenant", "acme"}
	for name, row := range map[string]struct {
		service *Service
		page    []collector.Series
		want    []string
	}{
		"all is there":               {service(as), []collector.Series{count("status_code", "200", "route", "/health"), count(full...)}, nil},
		"nothing was asked yet":      {service(as), nil, []string{"requests: no series http_request_duration_seconds_count is there (before the first request that may be so)"}},
		"another preset":             {service(func(s *Service) { s.Metrics.Preset = "otel" }), []collector.Series{count(full...)}, []string{"requests: no series http_server_request_duration_seconds_count is there (before the first request that may be so)"}},
		"other labels":               {service(func(s *Service) { s.VersionLabel, s.TenantLabel = "build", "customer" }), []collector.Series{count(full...)}, []string{`version_label: http_request_duration_seconds_count has no label "build"`, `tenant_label: http_request_duration_seconds_count has no label "customer"`}},
		"no status":                  {service(as), []collector.Series{count("version", "1", "tenant", "acme")}, []string{"status: http_request_duration_seconds_count has none of the labels status_code, status, code, so no error would be seen"}},
		"a worker":                   {service(func(s *Service) { s.Metrics, s.Completions = Metrics{}, "jobs_completed_total" }), nil, nil},
		"requests of another's page": {service(func(s *Service) { s.Metrics = Metrics{Requests: `proxied{job="proxy"}`, Errors: `failed{job="proxy"}`} }), nil, nil},
	} {
		require.Equal(t, row.want, MissedOnPage(row.service, row.page), name)
	}
}
