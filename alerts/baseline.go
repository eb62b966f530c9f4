package alerts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A Baseline is what the service was like before a rollout. It is taken once,
// at registration, stored with the rollout, and never changes.
type Baseline struct {
	ID         string    `json:"id"`   // hash of what is in it
	Kind       string    `json:"kind"` // "stable", "before" or "none"
	TakenAt    time.Time `json:"takenAt"`
	Spans      []Span    `json:"spans"` // the times it covers
	Requests   float64   `json:"requests"`
	Errors     float64   `json:"errors"`
	Timed      float64   `json:"timed,omitempty"`      // requests whose duration is known
	Edges      []float64 `json:"edges,omitempty"`      // upper bucket edges in seconds, ascending, without +Inf
	Buckets    []float64 `json:"buckets,omitempty"`    // requests at most that slow, cumulative, one per edge
	P99        float64   `json:"p99,omitempty"`        // seconds; 0 when unknown
	Edge       float64   `json:"edge,omitempty"`       // the bucket edge latency_p99 judges by; +Inf is stored as 0 with Unresolved
	LE         string    `json:"le,omitempty"`         // Edge as the label le of the service's own series writes it
	Unresolved string    `json:"unresolved,omitempty"` // why the buckets cannot resolve factor x p99
	Pace       *Pace     `json:"pace,omitempty"`       // of its workers; nil where none are told
}

// A Span is a stretch of time: after From, up to and with To.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// The signals of a baseline, as the metric rollwatch_baseline names them.
const (
	SignalErrors = "error_ratio"  // share of errors
	SignalP99    = "latency_p99"  // seconds
	SignalSlow   = "latency_slow" // share of requests slower than Edge
)

// Signals are what the baseline says of each signal that is known. Shares are
// never below what so few requests could have shown: they are what the guard
// weighs against.
func (b *Baseline) Signals() map[string]float64 {
	signals := map[string]float64{}
	if b.Requests >= 2 {
		signals[SignalErrors] = leastFavourable(Ratio{b.Requests, b.Errors}, Ratio{}, 0)
	}
	if b.P99 > 0 {
		signals[SignalP99] = b.P99
	}
	if b.Edge > 0 && b.Timed >= 2 {
		signals[SignalSlow] = leastFavourable(b.slow(), Ratio{}, 0)
	}
	return signals
}

// The kinds of baselines.
const (
	BaselineStable = "stable" // the stable track, or the other versions
	BaselineBefore = "before" // the service before the rollout
	BaselineNone   = "none"
)

// A baseline covers the hour before the rollout and the same hour of the days
// before it, as far as the window holds them.
const (
	baselineHour = time.Hour
	baselineDays = 7
)

// TakeBaseline measures what the service was like before scene.Subject started.
// The spans in not (rollouts that were rolled back) are left out.
func TakeBaseline(ctx context.Context, gates []Gate, scene Scene, not []Span) (Baseline, error) {
	b := Baseline{Kind: BaselineNone, TakenAt: scene.Now}
	var err error
	if b.Pace, err = takePace(ctx, scene, not); err != nil {
		return Baseline{}, fmt.Errorf("baseline of service %s: %w", scene.Subject.Service, err)
	}
	if !hasMetrics(scene.Service) {
		return b.identified()
	}
	m, err := scene.Service.meter()
	if err != nil {
		return Baseline{}, fmt.Errorf("baseline: %w", err)
	}
	var stable, whole sample
	for day := range baselineDays + 1 {
		to := scene.Subject.StartedAt.AddDate(0, 0, -day)
		for _, span := range subtract(Span{From: to.Add(-baselineHour), To: to}, not) {
			r, err := readSeries(ctx, scene, span)
			if err != nil {
				return Baseline{}, fmt.Errorf("baseline of service %s: %w", scene.Subject.Service, err)
			}
			told := tell(scene, r.requests)
			stable.take(r.count(told, span), span, func(t Tick) Tally { return t.Control })
			whole.take(r.count(arms{}, span), span, func(t Tick) Tally { return t.Subject })
		}
	}
	switch {
	case stable.Requests > 0:
		b.Kind = BaselineStable
		stable.fill(&b)
	case whole.Requests > 0:
		b.Kind = BaselineBefore
		whole.fill(&b)
	}
	return b.resolved(gates, m.millis)
}

// BaselineOf is the baseline of counts from before the rollout that are at hand:
// one arm of them in one span.
func BaselineOf(gates []Gate, kind string, counts Counts, span Span, arm func(Tick) Tally) (Baseline, error) {
	b := Baseline{Kind: kind, TakenAt: span.To}
	var s sample
	s.take(counts, span, arm)
	if s.Requests == 0 {
		b.Kind = BaselineNone
		return b.identified()
	}
	s.fill(&b)
	return b.resolved(gates, false)
}

// resolved ends a baseline with the edge that its gates judge by.
func (b Baseline) resolved(gates []Gate, millis bool) (Baseline, error) {
	for _, gate := range gates {
		if gate.Name == latencyP99.Name {
			b.resolve(gate.Factor, millis)
		}
	}
	return b.identified()
}

// Under is the same measurement as other gates read it: the edge that
// latency_p99 judges by follows from its factor.
func (b Baseline) Under(gates []Gate, service *Service) (Baseline, error) {
	if b.Timed == 0 || !hasMetrics(service) {
		return b, nil
	}
	m, err := service.meter()
	if err != nil {
		return Baseline{}, fmt.Errorf("baseline: %w", err)
	}
	for _, gate := range gates {
		if gate.Name == latencyP99.Name {
			b.Edge, b.LE, b.Unresolved = 0, "", ""
			b.resolve(gate.Factor, m.millis)
		}
	}
	return b, nil
}

// identified gives the baseline its id. When it was taken is not part of what
// it is.
func (b Baseline) identified() (Baseline, error) {
	content := b
	content.ID, content.TakenAt = "", time.Time{}
	data, err := json.Marshal(content)
	if err != nil {
		return Baseline{}, fmt.Errorf("identify the baseline: %w", err)
	}
	sum := sha256.Sum256(data)
	b.ID = "b-" + hex.EncodeToString(sum[:6])
	return b, nil
}

// A sample is what one choice of series counted in the spans of a baseline.
type sample struct {
	Tally
	edges []float64
	spans []Span
}

// take adds what was counted in one span. Bucket edges that not every span has
// are given up.
func (s *sample) take(c Counts, span Span, arm func(Tick) Tally) {
	var sum Tally
	for _, tick := range c.Ticks {
		sum = sum.add(arm(tick), 1)
	}
	if sum.Requests == 0 {
		return
	}
	if s.spans == nil {
		s.edges = c.Edges
	}
	common := intersect(s.edges, c.Edges)
	s.Slower, sum.Slower = pick(s.Slower, s.edges, common), pick(sum.Slower, c.Edges, common)
	s.edges = common
	s.Tally = s.Tally.add(sum, 1)
	s.spans = append(s.spans, span)
}

// fill writes the sample into a baseline.
func (s *sample) fill(b *Baseline) {
	b.Spans, b.Requests, b.Errors, b.Timed, b.Edges = s.spans, s.Requests, s.Errors, s.Timed, s.edges
	for i := range s.edges {
		slower := 0.0
		if i < len(s.Slower) {
			slower = s.Slower[i]
		}
		b.Buckets = append(b.Buckets, s.Timed-slower)
	}
}

// intersect keeps the edges that both have.
func intersect(a, b []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(a), func(edge float64) bool { return !slices.Contains(b, edge) })
}

// pick keeps the values of the edges that are kept.
func pick(values, edges, kept []float64) []float64 {
	if len(values) == 0 {
		return nil
	}
	var out []float64
	for i, edge := range edges {
		if slices.Contains(kept, edge) {
			out = append(out, values[i])
		}
	}
	return out
}

// subtract cuts spans out of a span.
func subtract(span Span, not []Span) []Span {
	left := []Span{span}
	for _, cut := range not {
		var next []Span
		for _, s := range left {
			if !cut.From.Before(s.To) || !cut.To.After(s.From) {
				next = append(next, s)
				continue
			}
			if cut.From.After(s.From) {
				next = append(next, Span{s.From, cut.From})
			}
			if cut.To.Before(s.To) {
				next = append(next, Span{cut.To, s.To})
			}
		}
		left = next
	}
	return left
}
