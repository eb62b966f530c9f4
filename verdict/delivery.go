package verdict

import (
	"encoding/json"
	"slices"
	"time"
)

// An Endpoint is somebody to whom events are owed.
type Endpoint struct {
	Name   string
	Events []EventType // empty: all
}

// wants says whether events of the type are owed to the endpoint.
func (e Endpoint) wants(t EventType) bool { return len(e.Events) == 0 || slices.Contains(e.Events, t) }

// EventType is the type of an event.
type EventType string

// The types of events. One transition is one event.
const (
	VerdictFinal   EventType = "verdict.final"   // the transition to a final verdict
	VerdictChanged EventType = "verdict.changed" // any other
)

// EventTypes lists every type of event.
var EventTypes = []EventType{VerdictFinal, VerdictChanged}

// An Event is what webhooks carry, shaped as Standard Webhooks asks.
type Event struct {
	Type      EventType `json:"type"`
	Timestamp time.Time `json:"timestamp"` // of the transition, not of the attempt
	Data      Document  `json:"data"`
}

// newEvent makes the event of a document and the bytes of it that are signed.
// Only the findings that decided go along: endpoints may refuse large bodies.
func newEvent(doc Document) (EventType, []byte, error) {
	event := Event{Type: VerdictChanged, Timestamp: doc.AsOf, Data: doc}
	if doc.Final {
		event.Type = VerdictFinal
	}
	event.Data.Findings = nil
	payload, err := json.Marshal(event)
	return event.Type, payload, err
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
