// Package api serves over HTTP what rollwatch knows: the metrics, the health
// of the stack, and the verdicts, as a document for pollers that read a body
// and as gates for pollers that read a status code. It records what deploy
// tools tell of their rollouts. openapi.yaml is its contract.
package api

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gorilla/mux"
	"github.com/prometheus/prometheus/promql"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/verdict"
)

// A Judge keeps the record of rollouts and serves the verdicts on them; it is
// *verdict.Engine, whose methods say what each does.
type Judge interface {
	Rollouts
	Verdicts
	Deliveries
	Records
}

// Rollouts are recorded as deploy tools and people tell of them.
type Rollouts interface {
	Register(ctx context.Context, reg verdict.Registration, idempotencyKey string) (verdict.Rollout, bool, error)
	Rollout(ctx context.Context, id string) (verdict.Rollout, error)
	Rollouts(ctx context.Context, service string, page verdict.Page) ([]verdict.Rollout, string, error)
	AddStage(ctx context.Context, id string, stage verdict.Stage) (verdict.Rollout, error)
	Finish(ctx context.Context, id string, outcome verdict.Outcome) (verdict.Rollout, error)
	SetOverride(ctx context.Context, id string, override verdict.Override) (verdict.Rollout, error)
}

// Verdicts are served for one rollout.
type Verdicts interface {
	Document(ctx context.Context, id string) (verdict.Document, error)
	Newest(ctx context.Context, service string) (string, error)
	Await(ctx context.Context, id string, seq int64) (verdict.Document, error)
}

// Deliveries of webhooks are owed until they have arrived.
type Deliveries interface {
	Deliveries(ctx context.Context, page verdict.Page) ([]verdict.Delivery, string, error)
	ReplayDelivery(ctx context.Context, id string) (verdict.Delivery, error)
}

// Records are what a report of a rollout is made of.
type Records interface {
	History(ctx context.Context, id string) (verdict.History, error)
	Draw(ctx context.Context, query string, from, to time.Time, steps int) (promql.Matrix, error)
}

var _ Judge = (*verdict.Engine)(nil)

// Options are what a Handler stands on. All are needed.
type Options struct {
	Config   Config
	Judge    Judge
	Targets  func() []collector.Status       // the newest status of every target
	Degraded func() map[string]string        // by part of the daemon, as judge: why it cannot do all it should; "" when it can
	Metrics  http.Handler                    // answers GET /metrics
	Reload   func(ctx context.Context) error // applies the configuration file anew, or refuses it whole
	Interval time.Duration                   // between two judgements; Retry-After tells it
	Version  string                          // of rollwatch
	Log      *zap.Logger
}

// The limits of what one client may take.
const (
	maxBody = 1 << 20          // bytes of a request's body
	maxWait = 60 * time.Second // of ?wait=

	// endpointTime is how long a short answer may take. It ends before the
	// server's own deadlines, so that there is time to say so.
	endpointTime = 20 * time.Second

	maxLong   = 128              // waiting requests and event streams at one time
	heartbeat = 15 * time.Second // between two signs of life of an event stream
	writeTime = 10 * time.Second // for a client to take what is written to a long answer
)

// A Handler answers every path of the API.
type Handler struct {
	opts     Options
	access   *access
	contract *openapi3.T
	router   *mux.Router
	landing  http.Handler
	long     chan struct{}   // one place for each long answer under way
	draining context.Context //nolint:containedctx // the daemon's: it ends when the daemon is going away
	drain    context.CancelFunc
	seenAll  atomic.Bool // every target was read once
}

// New makes the Handler. It fails when the tokens file cannot be used.
func New(opts Options) (*Handler, error) {
	contract, err := loadContract()
	if err != nil {
		return nil, err
	}
	landing, err := newLanding(opts.Version)
	if err != nil {
		return nil, err
	}
	access, err := newAccess(opts.Config, opts.Log)
	if err != nil {
		return nil, err
	}
	h := &Handler{opts: opts, access: access, contract: contract, landing: landing, long: make(chan struct{}, maxLong)}
	h.draining, h.drain = context.WithCancel(context.Background())
	h.router = h.newRouter()
	return h, nil
}

// Configure applies a new configuration, or refuses it and keeps the old one.
func (h *Handler) Configure(cfg Config) error { return h.access.configure(cfg) }

// Drain says that the daemon is going away: /-/ready answers 503 from now on,
// and what waits for a verdict is answered at once.
func (h *Handler) Drain() { h.drain() }

// whileHere derives a context that also ends when the daemon is going away.
func (h *Handler) whileHere(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(h.draining, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	watched := &answer{ResponseWriter: w}
	defer h.recover(watched, r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	h.router.ServeHTTP(watched, r)
}
