package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// orderRoute is the one route of the example service.
const orderRoute = "/orders"

// A service is one running version of the example service: it takes orders,
// answers its health the way NestJS Terminus does, and counts its requests
// under the names that prom-client users have.
type service struct {
	version string
	url     string

	failing  atomic.Uint32 // share of orders answered with 500, in percent
	database *pgxpool.Pool // nil where the machine has no PostgreSQL
	requests *prometheus.HistogramVec
	server   *http.Server
}

// startService serves a version on a free loopback port.
func startService(version string, database *pgxpool.Pool) (*service, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("example service %s: %w", version, err)
	}
	s := &service{
		version:  version,
		url:      "http://" + listener.Addr().String(),
		database: database,
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:        "http_request_duration_seconds",
			Help:        "Duration of HTTP requests.",
			ConstLabels: prometheus.Labels{"version": version},
			Buckets:     prometheus.ExponentialBuckets(.001, 1.5, 19), // to 1.5 s, near enough to tell three times any p99
		}, []string{"method", "route", "status_code"}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.requests)

	mux := http.NewServeMux()
	mux.HandleFunc("POST "+orderRoute, s.order)
	mux.HandleFunc("GET /health", s.health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second}
	go s.server.Serve(listener) //nolint:errcheck // ErrServerClosed, at the end of the demo
	return s, nil
}

// fail makes a share of the orders fail, in percent.
func (s *service) fail(percent uint32) { s.failing.Store(percent) }

// order stores an order and answers, or fails as often as it was told to.
func (s *service) order(w http.ResponseWriter, r *http.Request) {
	began, status := time.Now(), http.StatusCreated
	if rand.Uint32N(100) < s.failing.Load() {
		status = http.StatusInternalServerError
	} else if err := s.store(r.Context()); err != nil {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
	s.requests.WithLabelValues(r.Method, orderRoute, strconv.Itoa(status)).Observe(time.Since(began).Seconds())
}

// store writes one order to the database, if there is one.
func (s *service) store(ctx context.Context) error {
	if s.database == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := s.database.Exec(ctx, "insert into orders (version) values ($1)", s.version)
	return err
}

// health answers the way NestJS Terminus does.
func (s *service) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	const up = `{"api":{"status":"up"}}`
	fmt.Fprintf(w, `{"status":"ok","version":%q,"info":%s,"error":{},"details":%s}`, s.version, up, up)
}

// close ends the service and its connections.
func (s *service) close() error { return s.server.Close() }
