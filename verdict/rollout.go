package verdict

import (
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// Word is the answer to "what now?".
type Word string

// The four verdicts.
const (
	Continue Word = "continue"
	Promote  Word = "promote"
	HoldOn   Word = "hold"
	Rollback Word = "rollback"
)

// Words lists every verdict.
var Words = []Word{Continue, Promote, HoldOn, Rollback}

// Kind says what a rollout is for.
type Kind string

// The kinds of rollouts.
const (
	Deploy         Kind = "deploy"
	KindOfRollback Kind = "rollback" // a rollback in progress is judged by target_down and outage alone
)

// Outcome is how a rollout was finished.
type Outcome string

// The outcomes.
const (
	Promoted   Outcome = "promoted"
	RolledBack Outcome = "rolled_back"
	Aborted    Outcome = "aborted"
)

// A Registration is what a deploy tool tells of a rollout.
type Registration struct {
	Service         string            `json:"service"`
	Version         string            `json:"version"`
	PreviousVersion string            `json:"previous_version,omitempty"`
	Strategy        alerts.Strategy   `json:"strategy"`
	Kind            Kind              `json:"kind,omitempty"`      // deploy by default
	StartedAt       time.Time         `json:"started_at,omitzero"` // now by default
	Commit          string            `json:"commit,omitempty"`
	Image           string            `json:"image,omitempty"`
	PreviousImage   string            `json:"previous_image,omitempty"`
	FeatureFlags    []string          `json:"feature_flags,omitempty"`
	Migrations      []Migration       `json:"migrations,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
}

// A Migration is a change of the schema that comes with a rollout.
type Migration struct {
	Tool    string `json:"tool"`
	Name    string `json:"name"`
	Kind    string `json:"kind"`              // Additive, Data or Breaking
	Reverse string `json:"reverse,omitempty"` // the script that undoes it
}

// The kinds of migrations.
const (
	Additive = "additive" // the previous version runs on the new schema
	Data     = "data"     // contents were changed
	Breaking = "breaking" // the previous version does not run on the new schema
)

// A Rollout is one attempt to put a version in production, as the ledger keeps it.
type Rollout struct {
	ID string `json:"id"`
	Registration
	RegisteredAt time.Time       `json:"registered_at"`
	Detected     bool            `json:"detected,omitempty"` // its version was seen, and nobody has told of it
	Notes        []string        `json:"notes,omitempty"`    // what it cannot be judged by, in sentences
	Stages       []Stage         `json:"stages,omitempty"`
	Override     *Override       `json:"override,omitempty"` // the newest one
	Verdict      Word            `json:"verdict,omitempty"`  // the newest one; empty before the first judgement
	Final        bool            `json:"final"`              // it is not judged any more
	Seq          int64           `json:"seq"`                // transitions so far
	Latched      Word            `json:"latched,omitempty"`  // promote or rollback, once reached
	LatchedAt    time.Time       `json:"latched_at,omitzero"`
	SupersededBy string          `json:"superseded_by,omitempty"`
	Outcome      Outcome         `json:"outcome,omitempty"`
	FinishedAt   time.Time       `json:"finished_at,omitzero"`
	Baseline     alerts.Baseline `json:"baseline"`
	Schemas      []FrozenSchema  `json:"schemas,omitempty"` // of the databases that the service names

	latchedBy []alerts.Finding // what the latched rollback was decided by, where it was judged in this process
}

// A Stage is a step of a canary or a note on the way.
type Stage struct {
	At     time.Time `json:"at"`
	Weight *float64  `json:"weight,omitempty"` // share of traffic, 0 to 100
	Note   string    `json:"note,omitempty"`
}

// An Override is a human's decision. It clears the latch; after Until only
// evidence later than At counts. Only a rollback outlasts it.
type Override struct {
	Verdict Word      `json:"verdict"`
	Reason  string    `json:"reason"`
	Author  string    `json:"author"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
}
