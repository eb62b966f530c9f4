package feature

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/rollwatch/rollwatch/probes/probe"
)

const (
	// atOnce is how many tries are under way at one time.
	atOnce = 8
	// tenantsEvery is how often the tenants are looked up.
	tenantsEvery = 5 * time.Minute
	// defaultDeadline stands in where a Read has no deadline of its own.
	defaultDeadline = 10 * time.Second
)

// The parts of a reading.
const (
	viewTenants = "tenants"
	viewTries   = "tries"
)

// trier tries one feature.
type trier struct {
	config    *Config
	steps     []step
	client    *http.Client
	transport *http.Transport
	limit     *rate.Limiter

	mu      sync.Mutex // guards what Discover changes beside Read
	names   []string   // nil until they are known
	refused int
	changed bool // names has not been admitted to the line

	line     *line // Read's own, as is what it counts
	worked   uint64
	failed   uint64
	duration probe.Distribution
}

func newProbe(config *Config) (*trier, error) {
	t := &trier{
		config: config, line: newLine(), duration: probe.NewHistogram(edges...),
		limit: rate.NewLimiter(rate.Limit(config.maxPerSecond()), atOnce),
		transport: &http.Transport{
			DialContext:            (&net.Dialer{}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxResponseHeaderBytes: maxHeader,
			// Each try connects as a new client would, and is balanced anew.
			DisableKeepAlives: true,
		},
	}
	t.client = &http.Client{
		Transport:     t.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	saved := map[string]bool{}
	for _, request := range config.Requests() {
		s, err := compile(request, saved)
		if err != nil {
			return nil, err
		}
		t.steps = append(t.steps, s)
		for name := range request.Save {
			saved[name] = true
		}
	}
	return t, nil
}

// Discover looks the tenants up. Those that were known stay when it fails.
func (t *trier) Discover(ctx context.Context) error {
	names, refused, err := t.config.Tenants.names(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names, t.refused, t.changed = names, refused, true
	return nil
}

// DiscoverInterval implements probe.Discoverer.
func (t *trier) DiscoverInterval() time.Duration { return tenantsEvery }

// Close gives up what the client still holds.
func (t *trier) Close() error {
	t.transport.CloseIdleConnections()
	return nil
}

// Read tries the feature for those whose turn it is. It answers no error: that
// a feature fails is what was read.
func (t *trier) Read(ctx context.Context) (probe.Reading, error) {
	views := []probe.View{{Name: viewTenants, State: probe.ViewAbsent}, {Name: viewTries, State: probe.ViewRead}}
	t.mu.Lock()
	known, refused := t.names != nil, t.refused
	if t.changed {
		t.line.admit(t.names)
		t.changed = false
	}
	t.mu.Unlock()
	if known {
		views[0].State = probe.ViewRead
	}
	if err := t.round(ctx); err != nil {
		return probe.Reading{}, err
	}
	return t.reading(views, refused, time.Now()), nil
}

// round tries as many as the rate allows before the last moment at which a try
// can still end by itself.
func (t *trier) round(ctx context.Context) error {
	remaining := defaultDeadline
	if deadline, ok := ctx.Deadline(); ok {
		remaining = time.Until(deadline)
	}
	timeout := min(t.config.timeout(), remaining*3/4)
	launching := remaining - timeout
	most := atOnce + int(launching.Seconds()*t.config.maxPerSecond())
	turn := t.line.next(time.Now(), t.config.interval(), most)
	last := time.Now().Add(launching)

	results := make([]result, len(turn))
	var tries errgroup.Group
	tries.SetLimit(atOnce)
	made := 0
	for i, who := range turn {
		if err := t.limit.Wait(ctx); err != nil || time.Now().After(last) {
			break
		}
		made++
		tries.Go(func() error {
			results[i] = t.try(ctx, who.name, timeout)
			return nil
		})
	}
	_ = tries.Wait() // what failed is in the results
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		t.line.keep(turn)
		return fmt.Errorf("called off: %w", err) // and not a fault of the service's
	}
	for i, who := range turn[:made] {
		t.note(who, results[i])
	}
	t.line.back(turn[:made])
	t.line.keep(turn[made:])
	return nil
}

// A result is how one try went.
type result struct {
	ended time.Time
	took  time.Duration
	err   error
}

// try takes the steps for one tenant.
func (t *trier) try(ctx context.Context, name string, timeout time.Duration) result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	known := map[string]string{tenantKey: name}
	for i, s := range t.steps {
		if err := s.do(ctx, t.client, known); err != nil {
			if len(t.steps) > 1 {
				err = fmt.Errorf("step %d: %w", i+1, err)
			}
			return result{ended: time.Now(), took: time.Since(start), err: err}
		}
	}
	return result{ended: time.Now(), took: time.Since(start)}
}

// note takes a result into account.
func (t *trier) note(who *tenant, r result) {
	if r.err != nil {
		t.failed++
	} else {
		t.worked++
		t.duration.Observe(r.took.Seconds())
	}
	who.took(r.ended, r.err)
}

// The most tenants that are told one by one.
const maxListed = 1_000

// reading puts together what is known.
func (t *trier) reading(views []probe.View, refused int, now time.Time) probe.Reading {
	all := slices.SortedFunc(maps.Values(t.line.byName), func(a, b *tenant) int { return strings.Compare(a.name, b.name) })
	counts := census(all, now)
	samples := []probe.Sample{
		triesMetric.Sample(float64(t.worked), "worked"),
		triesMetric.Sample(float64(t.failed), "failed"),
		durationMetric.Distributed(t.duration.Clone()),
	}
	if counts.oldest > 0 {
		samples = append(samples, oldestMetric.Sample(counts.oldest.Seconds()))
	}
	for _, state := range []struct {
		name string
		n    int
	}{{"works", counts.works}, {"suspect", counts.suspect}, {"broken", counts.broken}, {"untried", counts.untried}} {
		samples = append(samples, tenantsMetric.Sample(float64(state.n), state.name))
	}
	listed := toList(all)
	told := min(len(listed), maxListed)
	for _, who := range listed[:told] {
		samples = append(samples, who.samples()...)
	}
	return probe.Reading{
		Samples: samples, Views: views, Dropped: len(listed) - told,
		Ill: counts.ill(), Details: counts.details(all, refused),
	}
}

// toList are the tenants to be told one by one: all that were tried, or of many
// only those for whom the feature fails. Whom it has failed for the shortest is
// first: that is what a rollout may have done.
func toList(all []*tenant) []*tenant {
	listed := slices.DeleteFunc(slices.Clone(all), func(t *tenant) bool {
		return t.tried.IsZero() || t.failures == 0 && len(all) > maxListed
	})
	slices.SortStableFunc(listed, func(a, b *tenant) int { return b.failing.Compare(a.failing) })
	return listed
}

// samples are what is told of one tenant.
func (t *tenant) samples() []probe.Sample {
	if t.failures == 0 {
		return []probe.Sample{worksMetric.Sample(1, t.name)}
	}
	samples := []probe.Sample{
		worksMetric.Sample(0, t.name),
		failuresMetric.Sample(float64(t.failures), t.name),
		failingMetric.Sample(seconds(t.failing), t.name),
	}
	if !t.succeeded.IsZero() {
		samples = append(samples, lastSuccessMetric.Sample(seconds(t.succeeded), t.name))
	}
	return samples
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
