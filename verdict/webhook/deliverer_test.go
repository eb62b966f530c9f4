package webhook

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
)

// An attempt is one request that an endpoint saw.
type attempt struct {
	after time.Duration // since the world began
	id    string
	stamp string
	body  string
}

// A world is an engine that owes events to two endpoints, in the time of a bubble.
type world struct {
	t      *testing.T
	engine *verdict.Engine
	ledger *verdict.Ledger
	hooks  *Deliverer
	began  time.Time
	config []Config

	mu      sync.Mutex
	seen    map[string][]attempt // by host
	answers map[string]func(n int, r *http.Request) (*http.Response, error)
}

func inWorld(t *testing.T, story func(t *testing.T, w *world)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, began: time.Now(), seen: make(map[string][]attempt), answers: make(map[string]func(int, *http.Request) (*http.Response, error))}
		for _, name := range []string{"first", "second"} {
			w.config = append(w.config, Config{Name: name, URL: probe.NewSecret("http://" + name + "/hook"), Secret: probe.NewSecret(vector)})
		}
		var err error
		w.ledger, err = verdict.OpenLedger(path)
		require.NoError(t, err)
		defer func() { require.NoError(t, w.ledger.Close()) }()
		w.hooks = New(Options{Webhooks: w.config, Ledger: w.ledger, Transport: w})
		w.engine, err = verdict.NewEngine(t.Context(), verdict.Options{
			Services: []*alerts.Service{{Name: "api"}}, Ledger: w.ledger, Interval: 15 * time.Second,
			Endpoints: Endpoints(w.config), OnOwed: func() { w.hooks.Wake() },
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.hooks.Run(ctx) })
		defer running.Wait()
		defer cancel()
		synctest.Wait()
		story(t, w)
	})
}

// RoundTrip is the network of the world.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	host := r.URL.Host
	w.seen[host] = append(w.seen[host], attempt{time.Since(w.began), r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), string(body)})
	n, answer := len(w.seen[host]), w.answers[host]
	w.mu.Unlock()
	if answer == nil {
		return status(http.StatusOK), nil
	}
	return answer(n, r)
}

func status(code int) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: http.NoBody}
}

func (w *world) answer(host string, answer func(n int, r *http.Request) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers[host] = answer
}

func (w *world) attempts(host string) []attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]attempt(nil), w.seen[host]...)
}

// register makes one event.
func (w *world) register() {
	w.t.Helper()
	_, _, err := w.engine.Register(w.t.Context(), verdict.Registration{Service: "api", Version: "1", Strategy: alerts.Rolling}, "")
	require.NoError(w.t, err)
	synctest.Wait()
}

// delivery is the oldest to the endpoint.
func (w *world) delivery(endpoint string) verdict.Delivery {
	w.t.Helper()
	all, _, err := w.engine.Deliveries(w.t.Context(), verdict.Page{})
	require.NoError(w.t, err)
	var oldest verdict.Delivery
	for _, d := range all {
		if d.Endpoint == endpoint {
			oldest = d
		}
	}
	return oldest
}

func TestDeliveredAtOnceToEach(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.register()
		for _, host := range []string{"first", "second"} {
			got := w.attempts(host)
			require.Len(t, got, 1)
			require.Zero(t, got[0].after)
			require.Contains(t, got[0].body, `"type":"verdict.changed"`)
			require.Contains(t, got[0].body, `"verdict":"continue"`)
			d := w.delivery(host)
			require.Equal(t, verdict.Delivered, d.State)
			require.Equal(t, got[0].id, d.Event)
			require.Equal(t, 1, d.Attempts)
		}
		require.Equal(t, w.attempts("first")[0].id, w.attempts("second")[0].id, "one event, one id")
		time.Sleep(3 * time.Hour)
		require.Len(t, w.attempts("first"), 1)
	})
}

func TestTriedForTwoHoursThenGivenUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer("first", func(int, *http.Request) (*http.Response, error) { return nil, errors.New("connection refused") })
		w.register()
		time.Sleep(3 * time.Hour)
		got := w.attempts("first")
		var waited []time.Duration
		for i := 1; i < len(got); i++ {
			waited = append(waited, got[i].after-got[i-1].after)
			require.Equal(t, got[0].id, got[i].id)
			require.Equal(t, got[0].body, got[i].body)
			require.NotEqual(t, got[0].stamp, got[i].stamp, "signed as of each attempt")
		}
		require.Equal(t, []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, time.Minute}, waited[:7])
		for _, wait := range waited[7:] {
			require.Equal(t, time.Minute, wait)
		}
		require.LessOrEqual(t, got[len(got)-1].after, 2*time.Hour)
		require.Greater(t, got[len(got)-1].after, 2*time.Hour-2*time.Minute)
		d := w.delivery("first")
		require.Equal(t, verdict.Failed, d.State)
		require.Equal(t, "connection refused", d.LastError)
		require.Equal(t, verdict.Delivered, w.delivery("second").State)

		w.answer("first", nil)
		_, err := w.engine.ReplayDelivery(t.Context(), d.ID)
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, verdict.Delivered, w.delivery("first").State)
		again := w.attempts("first")
		require.Equal(t, got[0].id, again[len(again)-1].id)
	})
}

func TestRetryAfterIsHonouredWithinBounds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer("first", func(n int, _ *http.Request) (*http.Response, error) {
			resp := status(http.StatusTooManyRequests)
			resp.Header.Set("Retry-After", map[int]string{1: "45", 2: "86400", 3: "0"}[n])
			return resp, nil
		})
		w.register()
		time.Sleep(15 * time.Minute)
		got := w.attempts("first")
		require.Equal(t, 45*time.Second, got[1].after)
		require.Equal(t, 45*time.Second+maxRetryAfter, got[2].after)
		require.Equal(t, 50*time.Second+maxRetryAfter, got[3].after, "not sooner than the schedule")
	})
}

func TestASlowEndpointDelaysNoOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer("first", func(_ int, r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		w.register()
		require.Len(t, w.attempts("first"), 1)
		require.Equal(t, verdict.Delivered, w.delivery("second").State)
		time.Sleep(attemptTimeout + time.Second)
		synctest.Wait()
		got := w.attempts("first")
		require.Len(t, got, 2)
		require.Equal(t, attemptTimeout+time.Second, got[1].after, "an attempt has a deadline")
	})
}

func TestANewEventIsNotHeldUpByOneThatFailed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var poison string
		w.answer("first", func(n int, r *http.Request) (*http.Response, error) {
			if n == 1 {
				poison = r.Header.Get("webhook-id")
			}
			if r.Header.Get("webhook-id") == poison {
				return status(http.StatusBadRequest), nil
			}
			return status(http.StatusOK), nil
		})
		w.register()
		time.Sleep(10 * time.Minute)
		w.register() // the first rollout is superseded: two more events
		all, _, err := w.engine.Deliveries(t.Context(), verdict.Page{})
		require.NoError(t, err)
		states := make(map[verdict.DeliveryState]int)
		for _, d := range all {
			if d.Endpoint == "first" {
				states[d.State]++
			}
		}
		require.Equal(t, map[verdict.DeliveryState]int{verdict.Owed: 1, verdict.Delivered: 2}, states)
	})
}

func TestGoneDisablesUntilReplayed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.answer("first", func(int, *http.Request) (*http.Response, error) { return status(http.StatusGone), nil })
		w.register()
		require.Equal(t, verdict.Disabled, w.delivery("first").State)
		w.register()
		time.Sleep(time.Hour)
		require.Len(t, w.attempts("first"), 1, "it asked for no more")
		owed, err := w.ledger.CountOwed(t.Context())
		require.NoError(t, err)
		require.Zero(t, owed)

		w.answer("first", nil)
		_, err = w.engine.ReplayDelivery(t.Context(), w.delivery("first").ID)
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, verdict.Delivered, w.delivery("first").State)
		w.register()
		require.Len(t, w.attempts("first"), 4, "the replayed one, and the two of the third rollout")
	})
}

func TestMetrics(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(w.hooks)
		w.answer("first", func(int, *http.Request) (*http.Response, error) { return status(http.StatusInternalServerError), nil })
		w.register()
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP rollwatch_webhook_deliveries_total Attempts to deliver an event, by what they came to: delivered, again (it will be tried again), failed (given up), gone (the endpoint answered 410).
# TYPE rollwatch_webhook_deliveries_total counter
rollwatch_webhook_deliveries_total{endpoint="first",outcome="again"} 1
rollwatch_webhook_deliveries_total{endpoint="first",outcome="delivered"} 0
rollwatch_webhook_deliveries_total{endpoint="first",outcome="failed"} 0
rollwatch_webhook_deliveries_total{endpoint="first",outcome="gone"} 0
rollwatch_webhook_deliveries_total{endpoint="second",outcome="again"} 0
rollwatch_webhook_deliveries_total{endpoint="second",outcome="delivered"} 1
rollwatch_webhook_deliveries_total{endpoint="second",outcome="failed"} 0
rollwatch_webhook_deliveries_total{endpoint="second",outcome="gone"} 0
# HELP rollwatch_webhook_owed Deliveries that are owed to endpoints now.
# TYPE rollwatch_webhook_owed gauge
rollwatch_webhook_owed 1
`)))
	})
}
