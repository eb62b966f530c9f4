package alerts

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What each instrumentation exposes of one service, as its own pages have it, with
// health checks that fail wherever a label tells them. %s is the labels that
// differ: the status, and the route.
var exposed = map[string]struct {
	requests, buckets, edge string
	status, route           string // their labels; no route: it is not told
}{
	"prom-client": {
		requests: `http_request_duration_seconds_count{method="GET",%s}`, buckets: `http_request_duration_seconds_bucket{method="GET",le="$",%s}`,
		edge: "0.1", status: "status_code", route: "route",
	},
	"otel": {
		requests: `http_server_request_duration_seconds_count{http_request_method="GET",network_protocol_version="1.1",url_scheme="http",otel_scope_name="http",%s}`,
		buckets:  `http_server_request_duration_seconds_bucket{http_request_method="GET",network_protocol_version="1.1",url_scheme="http",otel_scope_name="http",le="$",%s}`,
		edge:     "0.1", status: "http_response_status_code", route: "http_route",
	},
	"otel-legacy": {
		requests: `http_server_duration_milliseconds_count{http_method="GET",http_flavor="1.1",http_scheme="http",%s}`,
		buckets:  `http_server_duration_milliseconds_bucket{http_method="GET",http_flavor="1.1",http_scheme="http",le="$",%s}`,
		edge:     "100", status: "http_status_code", route: "http_route",
	},
	"nginx-ingress": {
		requests: `nginx_ingress_controller_requests{ingress="shop",namespace="shop",service="shop",host="shop.example",method="GET",%s}`,
		buckets:  `nginx_ingress_controller_request_duration_seconds_bucket{ingress="shop",namespace="shop",service="shop",host="shop.example",method="GET",le="$",%s}`,
		edge:     "0.1", status: "status", route: "path",
	},
	"traefik": {
		requests: `traefik_service_requests_total{method="GET",protocol="http",service="shop@docker",%s}`,
		buckets:  `traefik_service_request_duration_seconds_bucket{method="GET",protocol="http",service="shop@docker",le="$",%s}`,
		edge:     "0.1", status: "code",
	},
	"envoy": {
		requests: `envoy_cluster_upstream_rq{envoy_cluster_name="shop",%s}`, buckets: `envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="shop",le="$"}`,
		edge: "100", status: "envoy_response_code",
	},
	"istio": {
		requests: `istio_requests_total{reporter="destination",destination_app="shop",request_protocol="http",%s}`,
		buckets:  `istio_request_duration_milliseconds_bucket{reporter="destination",destination_app="shop",request_protocol="http",le="$",%s}`,
		edge:     "100", status: "response_code",
	},
}

func TestEachPresetReadsWhatItsInstrumentationExposes(t *testing.T) {
	require.Len(t, exposed, len(Presets))
	for _, preset := range Presets {
		e := exposed[preset.Name]
		all := map[string]string{`up{job="api",instance="a:1"}`: "1x300"}
		add := func(series, le, labels, values string) {
			series = strings.Replace(strings.Replace(series, "$", le, 1), "%s", labels, 1)
			all[strings.Replace(series, "{", `{job="api",instance="a:1",`, 1)] = values
		}
		expose := func(status, route, each, fast string) {
			labels := e.status + `="` + status + `"`
			if e.route != "" {
				labels += "," + e.route + `="` + route + `"`
			}
			add(e.requests, "", labels, each)
			add(e.buckets, e.edge, labels, fast)
			add(e.buckets, "+Inf", labels, each)
		}
		expose("200", "/orders", "0+100x300", "0+100x300")
		if e.route != "" {
			expose("503", "/health/ready", "0+100x300", "0x300")
			expose("500", "/metrics", "0+100x300", "0x300")
		}
		service := apiService()
		service.Metrics.Preset = preset.Name
		scene := sceneOf(t, service, 5*time.Minute, all)
		counts, err := gather(t.Context(), scene, false)
		require.NoError(t, err)
		require.Equal(t, []float64{0.1}, counts.Edges, preset.Name)
		var sum Tally
		for _, tick := range counts.Ticks {
			sum = sum.add(tick.Subject, 1)
		}
		require.InDelta(t, 2000, sum.Requests, 0, preset.Name)
		require.Zero(t, sum.Errors, "%s: a health check that fails is no error of a user's", preset.Name)
		require.InDelta(t, 2000, sum.Timed, 0, preset.Name)
		require.InDelta(t, 0, sum.Slower[0], 0, preset.Name)
		require.Equal(t, e.route != "", len(preset.Routes) > 0, preset.Name)
	}
}
