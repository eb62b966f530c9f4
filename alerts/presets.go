package alerts

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// A Preset knows what an instrumentation calls its series.
type Preset struct {
	Name     string
	Help     string
	Requests string   // the counter of requests, as a PromQL selector
	Latency  string   // the histogram of durations, without _bucket
	Status   []string // labels in which the status may stand
	Routes   []string // labels in which the route may stand
	Millis   bool     // the histogram is in milliseconds
}

// DefaultPreset is in force where a service says nothing of its metrics.
const DefaultPreset = "prom-client"

// NoPreset is what a service says that is scraped and answers no requests.
const NoPreset = "none"

// Presets is the table of instrumentations that need no selectors.
var Presets = []Preset{
	{
		Name: DefaultPreset, Help: "prom-client and most middleware around it (Node.js), and Go's promhttp when named alike",
		Requests: "http_request_duration_seconds_count", Latency: "http_request_duration_seconds",
		Status: []string{"status_code", "status", "code"}, Routes: []string{"route", "path", "handler"},
	},
	{
		Name: "otel", Help: "OpenTelemetry's stable HTTP semantic conventions",
		Requests: "http_server_request_duration_seconds_count", Latency: "http_server_request_duration_seconds",
		Status: []string{"http_response_status_code"}, Routes: []string{"http_route"},
	},
	{
		Name: "otel-legacy", Help: "OpenTelemetry's HTTP conventions before they were stable (up to 1.20), which many Node.js instrumentations still emit",
		Requests: "http_server_duration_milliseconds_count", Latency: "http_server_duration_milliseconds",
		Status: []string{"http_status_code"}, Routes: []string{"http_route", "http_target"}, Millis: true,
	},
	{
		Name: "nginx-ingress", Help: "the NGINX ingress controller of Kubernetes",
		Requests: "nginx_ingress_controller_requests", Latency: "nginx_ingress_controller_request_duration_seconds",
		Status: []string{"status"}, Routes: []string{"path"},
	},
	{
		Name: "traefik", Help: "Traefik, by service",
		Requests: "traefik_service_requests_total", Latency: "traefik_service_request_duration_seconds",
		Status: []string{"code"},
	},
	{
		Name: "envoy", Help: "Envoy, by upstream cluster",
		Requests: "envoy_cluster_upstream_rq", Latency: "envoy_cluster_upstream_rq_time", Millis: true,
		Status: []string{"envoy_response_code"},
	},
	{
		Name: "istio", Help: "Istio's sidecars and waypoints, as the server sees it",
		Requests: `istio_requests_total{reporter="destination"}`, Latency: `istio_request_duration_milliseconds{reporter="destination"}`,
		Status: []string{"response_code"}, Millis: true,
	},
}

// serverError is what a status looks like when the service is to blame.
var serverError = labels.MustNewMatcher(labels.MatchRegexp, "status", "5..")

// notTraffic are the routes by which others watch a service.
var (
	notTraffic = []string{"/health.*", "/metrics"}
	watched    = regexp.MustCompile("^(" + strings.Join(notTraffic, "|") + ")$")
)

// A meter says which series count a service's requests, and how errors are told.
type meter struct {
	requests []*labels.Matcher
	status   []string          // errors are the requests with a 5xx in one of these labels,
	errors   []*labels.Matcher // or, where it is empty, these series
	buckets  []*labels.Matcher // nil: the service has no histogram
	millis   bool
}

// hasMetrics says whether the service's requests are to be judged. One that is
// scraped for what its workers do, and names no requests, has none.
func hasMetrics(s *Service) bool {
	m := s.Metrics
	return m.Preset != NoPreset && (m.Preset != "" || m.Requests != "" || len(m.Scrape) > 0 && s.Completions == "")
}

// isScraped says whether there are scrapes of the service.
func isScraped(s *Service) bool {
	return hasMetrics(s) || s.Completions != "" || len(s.Metrics.Scrape) > 0
}

// hasLatency says whether they tell how long requests take.
func hasLatency(s *Service) bool {
	return hasMetrics(s) && (s.Metrics.Requests == "" || s.Metrics.Latency != "")
}

// meter finds the service's series; it fails where a selector does not parse
// or a preset is unknown.
func (s *Service) meter() (meter, error) {
	if s.Metrics.Requests != "" {
		return s.explicitMeter()
	}
	preset, err := s.preset()
	if err != nil {
		return meter{}, err
	}
	m := meter{status: preset.Status, millis: preset.Millis}
	if m.requests, err = s.selector(preset.Requests, ""); err != nil {
		return meter{}, err
	}
	if m.buckets, err = s.selector(preset.Latency, "_bucket"); err != nil {
		return meter{}, err
	}
	watchers := strings.Join(s.watcherRoutes(), "|")
	for _, label := range preset.Routes {
		not := matching(labels.MatchNotRegexp, label, watchers)
		m.requests, m.buckets = append(m.requests, not), append(m.buckets, not)
	}
	return m, nil
}

// preset is the instrumentation of the service.
func (s *Service) preset() (Preset, error) {
	name := cmp.Or(s.Metrics.Preset, DefaultPreset)
	i := slices.IndexFunc(Presets, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		return Preset{}, fmt.Errorf("preset %q is unknown", name)
	}
	return Presets[i], nil
}

func (s *Service) explicitMeter() (m meter, err error) {
	if m.requests, err = s.selector(s.Metrics.Requests, ""); err != nil {
		return meter{}, err
	}
	if m.errors, err = s.selector(s.Metrics.Errors, ""); err != nil {
		return meter{}, err
	}
	if s.Metrics.Latency == "" {
		return m, nil
	}
	if m.buckets, err = s.selector(s.Metrics.Latency, "_bucket"); err != nil {
		return meter{}, err
	}
	m.millis = strings.HasSuffix(nameOf(m.buckets), "_milliseconds_bucket")
	return m, nil
}

// promQL parses what users write.
var promQL = parser.NewParser(parser.Options{})

// selector parses a selector and narrows it to the service's own job, unless it
// names a job itself. The suffix is added to the metric's name if it is not there.
func (s *Service) selector(text, suffix string) ([]*labels.Matcher, error) {
	matchers, err := parseSelector(text)
	if err != nil {
		return nil, fmt.Errorf("selector %q: %w", text, err)
	}
	named := false
	for i, m := range matchers {
		named = named || m.Name == "job"
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && !strings.HasSuffix(m.Value, suffix) {
			matchers[i] = labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, m.Value+suffix)
		}
	}
	if !named {
		matchers = append(matchers, equal("job", s.Name))
	}
	return matchers, nil
}

// placeholder is one in the URL of a feature, quoted.
var placeholder = regexp.MustCompile(`\\\{\\\{.*?\\\}\\\}`)

// watcherRoutes are the routes, as regular expressions, that no user asks for:
// health, metrics, and the features that are tried.
func (s *Service) watcherRoutes() []string {
	urls := []string{s.Health.URL}
	for _, target := range s.Metrics.Scrape {
		urls = append(urls, target.URL)
	}
	for _, feature := range s.Features {
		for _, request := range feature.Requests() {
			urls = append(urls, request.URL)
		}
	}
	routes := slices.Clone(notTraffic)
	for _, address := range urls {
		if u, err := url.Parse(address); err == nil && len(u.Path) > 1 && !watched.MatchString(u.Path) {
			routes = append(routes, placeholder.ReplaceAllString(regexp.QuoteMeta(u.Path), "[^/]+"))
		}
	}
	slices.Sort(routes)
	return slices.Compact(routes)
}

func equal(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, value)
}

func oneOf(name string, values []string) *labels.Matcher {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	return matching(labels.MatchRegexp, name, strings.Join(quoted, "|"))
}

// nameOf is the metric that matchers select.
func nameOf(matchers []*labels.Matcher) string {
	for _, m := range matchers {
		if m.Name == model.MetricNameLabel {
			return m.Value
		}
	}
	return ""
}

// good narrows requests to those that were answered without an error.
func (m meter) good() []*labels.Matcher {
	not := make([]*labels.Matcher, len(m.status))
	for i, label := range m.status {
		not[i] = matching(labels.MatchNotRegexp, label, serverError.Value)
	}
	return not
}

// selectorOf writes matchers as PromQL does.
func selectorOf(matchers []*labels.Matcher, more ...*labels.Matcher) string {
	var parts []string
	for _, m := range slices.Concat(matchers, more) {
		if m.Name != model.MetricNameLabel || m.Type != labels.MatchEqual {
			parts = append(parts, m.String())
		}
	}
	return nameOf(matchers) + "{" + strings.Join(parts, ",") + "}"
}
