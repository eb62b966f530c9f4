package collector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"
	metricsv1 "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/proto"
)

// receiver takes OTLP over HTTP.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	metrics map[string]float64 // the newest value by name and target
	service string
	spans   []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{metrics: map[string]float64{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = r.take(req.URL.Path, body)
		}
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) take(path string, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch path {
	case "/v1/metrics":
		var req metricsv1.ExportMetricsServiceRequest
		if err := proto.Unmarshal(body, &req); err != nil {
			return err
		}
		for _, rm := range req.GetResourceMetrics() {
			for _, a := range rm.GetResource().GetAttributes() {
				if a.GetKey() == "service.name" {
					r.service = a.GetValue().GetStringValue()
				}
			}
			for _, sm := range rm.GetScopeMetrics() {
				for _, m := range sm.GetMetrics() {
					for _, p := range append(m.GetGauge().GetDataPoints(), m.GetSum().GetDataPoints()...) {
						r.metrics[m.GetName()] = p.GetAsDouble()
					}
				}
			}
		}
	case "/v1/traces":
		var req tracev1.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &req); err != nil {
			return err
		}
		for _, rs := range req.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					r.spans = append(r.spans, s.GetName())
				}
			}
		}
	default:
		return errors.New("nobody sends to " + path)
	}
	return nil
}

// telemetry starts under these variables and no others of OpenTelemetry's.
func telemetry(t *testing.T, log *zap.Logger, env map[string]string) (func(context.Context) error, error) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
	for name, v := range env {
		t.Setenv(name, v)
	}
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	reg := prometheus.NewRegistry()
	reg.MustRegister(NewCollector(snapshot(), zap.NewNop()))
	return StartTelemetry(t.Context(), reg, log)
}

func TestTelemetryIsTheSameSnapshotOverOTLP(t *testing.T) {
	r := newReceiver(t)
	shutdown, err := telemetry(t, zap.NewNop(), map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL})
	require.NoError(t, err)
	reader := newReader(target("a", &fakeProbe{read: answers}), zap.NewNop())
	reader.once(t.Context())
	require.NoError(t, shutdown(t.Context()), "what is left is sent")

	require.Equal(t, "rollwatch", r.service)
	require.Equal(t, 12.0, r.metrics["queue_jobs_total"])
	require.Equal(t, 5.0, r.metrics["pg_stat_database_xact_commit"])
	require.Contains(t, r.metrics, "rollwatch_probe_up")
	require.Equal(t, []string{"probe.read"}, r.spans)
}

func TestTelemetryIsOffUnlessAskedFor(t *testing.T) {
	r := newReceiver(t)
	for name, env := range map[string]map[string]string{
		"nothing said":     {},
		"a name only":      {"OTEL_SERVICE_NAME": "mine"},
		"disabled":         {"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_SDK_DISABLED": "true"},
		"exporters: none":  {"OTEL_EXPORTER_OTLP_ENDPOINT": r.URL, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
		"disabled, a word": {"OTEL_METRICS_EXPORTER": "nonsense", "OTEL_SDK_DISABLED": "TRUE"},
	} {
		t.Run(name, func(t *testing.T) {
			shutdown, err := telemetry(t, zap.NewNop(), env)
			require.NoError(t, err)
			reader := newReader(target("a", &fakeProbe{read: answers}), zap.NewNop())
			reader.once(t.Context())
			require.NoError(t, shutdown(t.Context()))
			require.Empty(t, r.metrics)
			require.Empty(t, r.spans)
		})
	}
}

func TestTelemetrySpeaksForTheServiceTheEnvironmentNames(t *testing.T) {
	r := newReceiver(t)
	shutdown, err := telemetry(t, zap.NewNop(), map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": r.URL + "/v1/metrics", "OTEL_SERVICE_NAME": "eu-rollwatch"})
	require.NoError(t, err)
	require.NoError(t, shutdown(t.Context()))
	require.Equal(t, "eu-rollwatch", r.service)
	require.Empty(t, r.spans, "only metrics were asked for")
}

func TestTelemetryNamesTheWrongVariable(t *testing.T) {
	_, err := telemetry(t, zap.NewNop(), map[string]string{"OTEL_TRACES_EXPORTER": "zipkins"})
	require.ErrorContains(t, err, "OTEL_TRACES_EXPORTER")
	require.ErrorContains(t, err, "zipkins")
	_, err = telemetry(t, zap.NewNop(), map[string]string{"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "pigeon"})
	require.ErrorContains(t, err, "telemetry: metrics")
}

func TestTelemetryThatIsNotTakenIsLogged(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refusing.Close()
	core, log := observer.New(zap.WarnLevel)
	shutdown, err := telemetry(t, zap.New(core), map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": refusing.URL, "OTEL_METRIC_EXPORT_INTERVAL": "10"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return log.Len() > 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, "telemetry is not delivered", log.All()[0].Message)
	require.Error(t, shutdown(t.Context()))
}
