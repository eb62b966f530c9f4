package alerts

import (
	"time"

	"github.com/rollwatch/rollwatch/collector"
)

// A State is what a gate says at one moment. The last four are missing: they
// are neither success nor failure.
type State string

// The states of a gate (judgement, section 3).
const (
	OK         State = "ok"
	Pending    State = "pending"    // crossed, but not proven or not for long enough
	Firing     State = "firing"     //
	WarmingUp  State = "warming_up" // in grace
	NoTraffic  State = "no_traffic"
	NoSeries   State = "no_series"
	SourceDown State = "source_down"
	Stale      State = "stale" // older than three intervals
)

// States lists every State, in the order in which they are shown.
var States = []State{OK, Pending, Firing, WarmingUp, NoTraffic, NoSeries, SourceDown, Stale}

// Missing says whether nothing can be concluded from the state.
func (s State) Missing() bool {
	return s == NoTraffic || s == NoSeries || s == SourceDown || s == Stale
}

// A Mode says how far a gate may go.
type Mode string

// The modes of a gate.
const (
	Observe Mode = "observe" // shown, decides nothing
	Hold    Mode = "hold"    // may hold a rollout
	Enforce Mode = "enforce" // may roll it back
)

// A Cause is what firing evidence is attributed to (judgement, section 7).
type Cause string

// The causes. An empty Cause means that nothing else than the version is known
// to be to blame.
const (
	Version    Cause = "version"
	Dependency Cause = "dependency"
	Pod        Cause = "pod"
	Tenant     Cause = "tenant"
	Traffic    Cause = "traffic"
)

// A Finding is what one gate found for one rollout at one time, with all that
// is needed to explain it. It is produced by the gate that decided, never
// derived again.
type Finding struct {
	Gate     string            `json:"gate"`
	State    State             `json:"state"`
	Mode     Mode              `json:"mode"`
	Scope    map[string]string `json:"scope,omitempty"` // the labels that were judged, as track=canary
	Observed *float64          `json:"observed,omitempty"`
	Unit     string            `json:"unit,omitempty"` // "ratio", "seconds", "jobs", ...
	Limit    *float64          `json:"limit,omitempty"`
	Baseline *BaselineValue    `json:"baseline,omitempty"`
	N        float64           `json:"n"`                // observations behind Observed
	Window   string            `json:"window,omitempty"` // over which, as "5m"
	Since    time.Time         `json:"since,omitzero"`   // when the state began, as far as the window tells
	Evidence *Evidence         `json:"evidence,omitempty"`
	Cause    Cause             `json:"attributedTo,omitempty"`
	Query    string            `json:"query,omitempty"` // PromQL that draws the same signal
	Link     string            `json:"link,omitempty"`  // where it is drawn and explained; filled by who serves it
	Message  string            `json:"message"`         // the reason in one sentence

	// MinDetectable is the smallest ratio to the baseline that so many requests
	// would prove; 0 when none does, or when the gate does not count.
	MinDetectable float64 `json:"-"`

	Counts            bool     `json:"-"` // MinDetectable is told, also where it is 0
	RequireDetectable *float64 `json:"-"` // of the gate

	// What the judge needs besides (judgement, sections 5 and 6).
	Required bool      `json:"required"`       // its missing keeps a rollout from being promoted
	InGrace  bool      `json:"-"`              // may fire while the rollout warms up
	Seen     bool      `json:"-"`              // was observed at least once under this rollout
	LastSeen time.Time `json:"-"`              // the newest tick in which it was observed
	Coverage float64   `json:"coverage"`       // share of the ticks after the grace in which it was observed, 0 to 1
	Thin     bool      `json:"thin,omitempty"` // counts saw fewer than judge.min_requests

	WorstSide int `json:"-"` // of a gate that compares: the side that says most
}

// BaselineValue is the baseline of one signal as a Finding shows it.
type BaselineValue struct {
	Kind    string  `json:"kind"` // "stable", "before", "none"
	ID      string  `json:"id,omitempty"`
	Value   float64 `json:"value"`
	N       float64 `json:"n"`
	Rollout string  `json:"rollout,omitempty"` // whose time it was taken from, if known
}

// Evidence is the strength of a Finding.
type Evidence struct {
	Method     string  `json:"method"`               // "spans and guard", "conditional binomial", "consecutive", "threshold"
	LogE       float64 `json:"logE,omitempty"`       // of a sequential test, in nats
	LeastLogE  float64 `json:"leastLogE,omitempty"`  // the same with the worst minute left out, once it is needed
	Alpha      float64 `json:"alpha,omitempty"`      // chance of a false alarm in a whole watch
	Dispersion float64 `json:"dispersion,omitempty"` // variance of jobs over their mean, by which LogE was divided
	Guard      float64 `json:"guard,omitempty"`      // n * KL(q, p_base), in nats
	Needed     float64 `json:"needed,omitempty"`     // what Guard, or LogE, must reach
	Spans      int     `json:"spans,omitempty"`      // how many spans of the window
	SpansOver  int     `json:"spansOver,omitempty"`  // of which over the limit
	Resolution string  `json:"resolution,omitempty"` // what the buckets cannot resolve, or where Dispersion is from
}

// A Subject is the rollout as gates see it: which service, what is new in it
// and since when. Everything else of a rollout is the judge's.
type Subject struct {
	Service   string
	Version   string
	Strategy  Strategy
	Promoted  bool // a promotion was latched: what a canary showed is shown
	StartedAt time.Time
	Baseline  Baseline // frozen at registration
}

// A Strategy is how a version is put in production.
type Strategy string

// The strategies, and how long each is watched (verdict).
const (
	Rolling   Strategy = "rolling"
	BlueGreen Strategy = "blue-green"
	Canary    Strategy = "canary"
)

// A Scene is all that gates may look at. Time and data are in it: evaluation
// reads no clock and writes no log.
type Scene struct {
	Window   collector.Window
	Service  *Service
	Subject  Subject
	Now      time.Time
	Interval time.Duration // between two scrapes
	Grace    time.Duration
	After    time.Time // what came before it is no evidence either (an override); zero: nothing more
	Policy   Policy

	// Kept is what earlier judgements of the same rollout worked out; nil: everything
	// is worked out anew.
	Kept *Kept

	// Brief leaves out what of a finding is told and decides nothing (since when a
	// state lasts, the smallest effect, the sentence), unless it fires.
	Brief bool
}

// Policy is the part of the `judge:` section that gates need.
type Policy struct {
	MinRequests float64
	Watch       time.Duration // of the rollout; it is judged for twice as long at most. 0: unknown
}
