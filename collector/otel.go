package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	prometheusbridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

// StartTelemetry sends what is gathered as OTLP metrics, and the spans of reads
// and judgements as traces, wherever the OTEL_* variables say. It is off unless
// they name an exporter or an endpoint. shutdown sends what is left and must
// be called once, with a deadline.
func StartTelemetry(ctx context.Context, g prometheus.Gatherer, log *zap.Logger) (shutdown func(context.Context) error, err error) {
	var started providers
	if off, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); off {
		return started.shutdown, nil
	}
	// What the environment says of the service wins over its name here.
	res, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "rollwatch")),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("telemetry: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("telemetry is not delivered", zap.Error(err)) }))
	if exported("METRICS") {
		if err := started.metrics(ctx, g, res); err != nil {
			return nil, err
		}
	}
	if exported("TRACES") {
		if err := started.traces(ctx, res); err != nil {
			return nil, errors.Join(err, started.shutdown(ctx))
		}
	}
	return started.shutdown, nil
}

// providers are what has been started, by how it is stopped.
type providers []func(context.Context) error

func (p *providers) shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range *p {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}

func (p *providers) metrics(ctx context.Context, g prometheus.Gatherer, res *resource.Resource) error {
	autoexport.WithFallbackMetricProducer(func(context.Context) (metric.Producer, error) {
		return prometheusbridge.NewMetricProducer(prometheusbridge.WithGatherer(g)), nil
	})
	reader, err := autoexport.NewMetricReader(ctx)
	if err != nil {
		return fmt.Errorf("telemetry: metrics: check OTEL_METRICS_EXPORTER (%q) and OTEL_EXPORTER_OTLP_*: %w", os.Getenv("OTEL_METRICS_EXPORTER"), err)
	}
	*p = append(*p, metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(res)).Shutdown)
	return nil
}

func (p *providers) traces(ctx context.Context, res *resource.Resource) error {
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return fmt.Errorf("telemetry: traces: check OTEL_TRACES_EXPORTER (%q) and OTEL_EXPORTER_OTLP_*: %w", os.Getenv("OTEL_TRACES_EXPORTER"), err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(res))
	otel.SetTracerProvider(provider)
	*p = append(*p, provider.Shutdown)
	return nil
}

// exported says whether the environment wants a signal: autoexport alone would
// send to localhost:4318 when nobody asked for anything.
func exported(signal string) bool {
	return cmp.Or(
		os.Getenv("OTEL_"+signal+"_EXPORTER"),
		os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT"),
		os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"),
	) != ""
}
