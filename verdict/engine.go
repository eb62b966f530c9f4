package verdict

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
)

// An Engine judges every rollout under watch once an interval, records each
// transition before anyone sees it, and serves the newest Documents.
type Engine struct{}

// Options are what an Engine stands on.
type Options struct {
	Config   Config
	Services []*alerts.Service
	Gates    alerts.Config
	Window   collector.Window
	Ledger   *Ledger
	Interval time.Duration

	Endpoints []Endpoint  // who is owed which events
	OnOwed    func()      // called when deliveries were recorded; nil: nobody waits
	Log       *zap.Logger // nil: silent
}

// An Endpoint is somebody to whom events are owed.
type Endpoint struct {
	Name   string
	Events []EventType // empty: all
}

// EventType is the type of an event.
type EventType string

// The types of events. One transition is one event.
const (
	VerdictFinal   EventType = "verdict.final"   // the transition to a final verdict
	VerdictChanged EventType = "verdict.changed" // any other
)

// EventTypes lists every type of event.
var EventTypes = []EventType{VerdictFinal, VerdictChanged}

// A Page asks for a part of a list, newest first. Cursor is the Next of the
// page before; empty for the first.
type Page struct {
	Limit  int
	Cursor string
}

// Register records a rollout and begins to watch it. With the idempotency key
// of an earlier registration it returns that one, and false. A newer rollout
// of a service supersedes the older.
func (e *Engine) Register(ctx context.Context, reg Registration, idempotencyKey string) (Rollout, bool, error) {
	return Rollout{}, false, nil
}

// Rollout returns one rollout, NotFound if there is none.
func (e *Engine) Rollout(ctx context.Context, id string) (Rollout, error) { return Rollout{}, nil }

// Rollouts lists rollouts of a service (of all, if empty), newest first, and
// the cursor of the next page.
func (e *Engine) Rollouts(ctx context.Context, service string, page Page) ([]Rollout, string, error) {
	return nil, "", nil
}

// AddStage records a stage; Conflict when the rollout is finished.
func (e *Engine) AddStage(ctx context.Context, id string, stage Stage) (Rollout, error) {
	return Rollout{}, nil
}

// Finish ends the watch.
func (e *Engine) Finish(ctx context.Context, id string, outcome Outcome) (Rollout, error) {
	return Rollout{}, nil
}

// SetOverride records a human's decision and judges again at once.
func (e *Engine) SetOverride(ctx context.Context, id string, override Override) (Rollout, error) {
	return Rollout{}, nil
}

// Document returns the newest verdict of a rollout: NotFound, or Unavailable
// when there was no judgement for three intervals (unless it is a latched rollback).
func (e *Engine) Document(ctx context.Context, id string) (Document, error) { return Document{}, nil }

// Newest returns the id of the newest rollout of a service.
func (e *Engine) Newest(ctx context.Context, service string) (string, error) { return "", nil }

// Await returns the Document as soon as its Seq is above seq, or as it is when
// ctx ends first.
func (e *Engine) Await(ctx context.Context, id string, seq int64) (Document, error) {
	return Document{}, nil
}

// Deliveries lists webhook deliveries, newest first.
func (e *Engine) Deliveries(ctx context.Context, page Page) ([]Delivery, string, error) {
	return nil, "", nil
}

// ReplayDelivery owes a delivery again, whatever became of it.
func (e *Engine) ReplayDelivery(ctx context.Context, id string) (Delivery, error) {
	return Delivery{}, nil
}

// A Delivery is one event owed to one endpoint.
type Delivery struct {
	ID          string        `json:"id"`       // of this delivery
	Event       string        `json:"event"`    // webhook-id: one per transition, the same at every attempt
	Type        EventType     `json:"type"`     //
	Endpoint    string        `json:"endpoint"` // the webhook's name
	Rollout     string        `json:"rollout"`
	State       DeliveryState `json:"state"`
	Attempts    int           `json:"attempts"`
	CreatedAt   time.Time     `json:"created_at"`
	OwedSince   time.Time     `json:"-"` // when trying began; a replay begins anew
	NextAttempt time.Time     `json:"next_attempt,omitzero"`
	DeliveredAt time.Time     `json:"delivered_at,omitzero"`
	LastError   string        `json:"last_error,omitempty"`
	Payload     []byte        `json:"-"` // the exact bytes that are signed
}

// DeliveryState is what became of a Delivery.
type DeliveryState string

// The states of a delivery.
const (
	Owed      DeliveryState = "owed"
	Delivered DeliveryState = "delivered"
	Failed    DeliveryState = "failed"   // given up after two hours
	Disabled  DeliveryState = "disabled" // the endpoint answered 410
)
