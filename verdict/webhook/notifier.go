package webhook

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/verdict"
)

// A Notifier makes one attempt to hand a delivery over. It says itself whether
// another attempt can help.
type Notifier interface {
	Notify(ctx context.Context, d verdict.Delivery) Answer
}

// An Answer is what became of one attempt.
type Answer struct {
	Outcome    Outcome
	Err        error         // why it was not delivered; holds no secret and no address
	RetryAfter time.Duration // when the endpoint wants to be asked again; 0: it did not say
}

// Outcome is what an attempt came to.
type Outcome string

// The outcomes.
const (
	Delivered Outcome = "delivered"
	Again     Outcome = "again" // not delivered; another attempt may help
	Gone      Outcome = "gone"  // the endpoint wants no more events
)

// Standard is the kind of notifier that speaks Standard Webhooks.
const Standard = "standard"

// Kinds are the notifiers there are, by the name in the configuration.
var Kinds = map[string]func(Config, *http.Client) Notifier{
	Standard: newStandard,
}

func kindNames() []string { return slices.Sorted(maps.Keys(Kinds)) }
