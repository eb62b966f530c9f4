package http

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Bounds of one request. What an endpoint sends beyond them is not read.
const (
	maxBody      = 256 << 10
	maxHeader    = 64 << 10
	maxRedirects = 3
)

// stageTimeout bounds each stage of a request where the reading has no
// deadline of its own; the deadline bounds them all together.
const stageTimeout = 5 * time.Second

var (
	healthy = &probe.Metric{
		Name: "rollwatch_http_healthy", Type: probe.Gauge,
		Help:   "Whether the health endpoint said that the service is well (1) or not (0); absent while it does not answer.",
		Source: "the status code and the body",
	}
	statusCode = &probe.Metric{
		Name: "rollwatch_http_status_code", Type: probe.Gauge,
		Help:   "The status code that the health endpoint answered.",
		Source: "the status line",
	}
	duration = &probe.Metric{
		Name: "rollwatch_http_duration_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "How long the health endpoint took, from the name's look-up to the end of the body.",
		Source: "the request",
	}
	componentUp = &probe.Metric{
		Name: "rollwatch_http_component_up", Type: probe.Gauge, Labels: []string{"component"},
		Help:   "Whether a component that the health endpoint names is up (1) or down (0); one that only warns is up.",
		Source: "info, error, details, checks or components of the body",
	}
	componentValue = &probe.Metric{
		Name: "rollwatch_http_component_value", Type: probe.Gauge, Labels: []string{"component", "unit"},
		Help:   "What a component of a health+json answer observed, in the unit that it names.",
		Source: "observedValue, observedUnit of checks of the body",
	}
	phaseTime = &probe.Metric{
		Name: "rollwatch_http_phase_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"phase"},
		Help: "How long each phase of the request took: resolve (the name's look-up), connect, tls, processing (until the first byte of the answer), transfer. " +
			"Together they are rollwatch_http_duration_seconds, but for what lies between them.",
		Source: "the request",
	}
	tlsExpiry = &probe.Metric{
		Name: "rollwatch_http_tls_expiry_timestamp_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "When the first certificate of the chain that the endpoint showed expires, as a Unix time; absent without TLS.",
		Source: "the TLS handshake",
	}
	replicaHealthy = &probe.Metric{
		Name: "rollwatch_http_replica_healthy", Type: probe.Gauge, Labels: []string{"replica"},
		Help:   "Whether a replica of the service, asked by its own address, said that it is well (1), or not, or did not answer (0).",
		Source: "the status code and the body",
	}
	replicaDuration = &probe.Metric{
		Name: "rollwatch_http_replica_duration_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"replica"},
		Help:   "How long a replica took to answer; absent while it does not.",
		Source: "the request",
	}
	replicaVersion = &probe.Metric{
		Name: "rollwatch_http_replica_version_info", Type: probe.Gauge, Labels: []string{"replica", "version"},
		Help:   "Always 1; its label is the version that a replica names.",
		Source: "releaseId, or version, of the body",
	}
	versionInfo = &probe.Metric{
		Name: "rollwatch_http_version_info", Type: probe.Gauge, Labels: []string{"version"},
		Help:   "Always 1; its label is the version that the health endpoint names.",
		Source: "releaseId, or version, of the body",
	}
)

// Metrics are all metrics of this probe.
var Metrics = []*probe.Metric{
	healthy, statusCode, duration, phaseTime, tlsExpiry, componentUp, componentValue, versionInfo,
	replicaHealthy, replicaDuration, replicaVersion,
}

// A requester asks one health endpoint.
type requester struct {
	config    Config
	client    *http.Client
	transport *http.Transport
}

func newProbe(config Config) *requester {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: stageTimeout}).DialContext,
		TLSHandshakeTimeout:    stageTimeout,
		ResponseHeaderTimeout:  stageTimeout,
		MaxResponseHeaderBytes: maxHeader,
		// Each reading connects as a new client would: a kept connection would go
		// on with a server that takes no new ones.
		DisableKeepAlives: true,
	}
	return &requester{
		config:    config,
		transport: transport,
		client:    &http.Client{Transport: transport, CheckRedirect: stayOnHost},
	}
}

// stayOnHost follows a few redirects on the same host. What another host
// answers would not be this service's health.
func stayOnHost(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || next.URL.Host != via[0].URL.Host {
		return http.ErrUseLastResponse
	}
	return nil
}

// Read asks the endpoint once, and beside it each replica. An endpoint that
// answers that the service is not well is a Reading with Ill; one that does not
// answer is an error.
func (r *requester) Read(ctx context.Context) (probe.Reading, error) {
	if timeout := time.Duration(r.config.Timeout); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	beside := make(chan []replica, 1)
	go func() { beside <- r.replicas(ctx) }()
	a, err := r.ask(ctx, r.config.URL)
	replicas := <-beside
	if err != nil {
		return probe.Reading{}, fmt.Errorf("%w%s", err, census(replicas))
	}
	reading := r.config.judge(a)
	r.config.addReplicas(&reading, replicas)
	return reading, nil
}

// A reply is what one address answered.
type reply struct {
	*http.Response // its body is read and closed

	body  []byte
	took  time.Duration
	times phases
}

// ask sends one request.
func (r *requester) ask(ctx context.Context, address string) (reply, error) {
	at := newStage()
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, at.trace()), r.config.method(), address, http.NoBody)
	if err != nil {
		return reply{}, fmt.Errorf("health request: %w", withoutURL(err))
	}
	req.Header.Set("Accept", "application/health+json, application/json;q=0.9, */*;q=0.5")
	req.Header.Set("User-Agent", "rollwatch")

	start := time.Now()
	resp, err := r.client.Do(req)
	if err != nil {
		return reply{}, at.explain(ctx, err)
	}
	defer resp.Body.Close()
	at.name.Store("reading the body")
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return reply{}, at.explain(ctx, err)
	}
	end := time.Now()
	return reply{Response: resp, body: body, took: end.Sub(start), times: at.phases(end)}, nil
}

// Close gives up what the client still holds.
func (r *requester) Close() error {
	r.transport.CloseIdleConnections()
	return nil
}

// judge makes a Reading of an answer.
func (c *Config) judge(a reply) probe.Reading {
	resp, body := a.Response, a.body
	h, view := health{}, probe.View{Name: "body", State: probe.ViewRead}
	if len(body) > maxBody {
		view.State, view.Err = probe.ViewFailed, fmt.Errorf("larger than %d bytes", maxBody)
	} else if h = parse(body); h.state == unknown {
		view.State = probe.ViewAbsent
	}
	ill := c.ill(resp, body, &h)
	reading := probe.Reading{
		Ill: ill,
		Samples: []probe.Sample{
			healthy.Sample(truth(ill == "")),
			statusCode.Sample(float64(resp.StatusCode)),
			duration.Sample(a.took.Seconds()),
		},
		Views:   []probe.View{view},
		Details: map[string]any{"statusCode": resp.StatusCode},
	}
	for _, phase := range phaseNames {
		reading.Samples = append(reading.Samples, phaseTime.Sample(a.times[phase].Seconds(), phase))
	}
	if expiry, ok := expiry(resp.TLS); ok {
		reading.Samples = append(reading.Samples, tlsExpiry.Sample(float64(expiry.Unix())))
		reading.Details["certificateExpires"] = expiry.UTC().Format(time.RFC3339)
	}
	if h.status != "" {
		reading.Details["status"] = h.status
	}
	if h.version != "" {
		reading.Details["version"] = h.version
		reading.Samples = append(reading.Samples, versionInfo.Sample(1, h.version))
	}
	if len(h.components) > 0 {
		reading.Details["components"] = h.states()
	}
	if h.leftOut > 0 {
		reading.Details["componentsLeftOut"] = h.leftOut
	}
	for _, component := range h.components {
		reading.Samples = append(reading.Samples, componentUp.Sample(truth(component.state != down), component.name))
		if component.observed != nil {
			reading.Samples = append(reading.Samples, componentValue.Sample(*component.observed, component.name, component.unit))
		}
	}
	return reading
}

// ill says why the answer is not that of a healthy service; empty when it is.
func (c *Config) ill(resp *http.Response, body []byte, h *health) string {
	wrongStatus := c.wrongStatus(resp)
	switch {
	case h.state == down:
		return h.because(resp.StatusCode)
	case wrongStatus != "":
		return wrongStatus
	case len(c.Expect.JSON) > 0 && len(body) > maxBody:
		return fmt.Sprintf("the body is larger than %d bytes, so what is expected of it cannot be read", maxBody)
	}
	return c.Expect.mismatch(body)
}

// wrongStatus says what is wrong with the status code; empty when nothing is.
func (c *Config) wrongStatus(resp *http.Response) string {
	code := resp.StatusCode
	location, err := resp.Location()
	switch {
	case c.Expect.Status != 0 && code == c.Expect.Status, c.Expect.Status == 0 && code/100 == 2:
		return ""
	case err == nil:
		return fmt.Sprintf("status %d, a redirect to %s://%s that was not followed", code, location.Scheme, location.Host)
	case c.Expect.Status != 0:
		return fmt.Sprintf("status %d, not %d", code, c.Expect.Status)
	}
	return fmt.Sprintf("status %d", code)
}

// truth is a bool as metrics show it.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// states are the components as the health document shows them.
func (h *health) states() map[string]any {
	states := make(map[string]any, len(h.components))
	for _, component := range h.components {
		states[component.name] = string(component.state)
	}
	return states
}
