package alerts

import "time"

// A Baseline is what the service was like before a rollout. It is taken once,
// at registration, stored with the rollout, and never changes.
type Baseline struct {
	ID         string    `json:"id"`   // hash of what is in it
	Kind       string    `json:"kind"` // "stable", "before" or "none"
	TakenAt    time.Time `json:"takenAt"`
	Spans      []Span    `json:"spans"` // the times it covers
	Requests   float64   `json:"requests"`
	Errors     float64   `json:"errors"`
	Edges      []float64 `json:"edges,omitempty"`      // upper bucket edges in seconds, ascending, without +Inf
	Buckets    []float64 `json:"buckets,omitempty"`    // requests at most that slow, cumulative, one per edge
	P99        float64   `json:"p99,omitempty"`        // seconds; 0 when unknown
	Edge       float64   `json:"edge,omitempty"`       // the bucket edge latency_p99 judges by; +Inf is stored as 0 with Unresolved
	Unresolved string    `json:"unresolved,omitempty"` // why the buckets cannot resolve factor x p99
}

// A Span is a stretch of time.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}
