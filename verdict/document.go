package verdict

import (
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// Schema is the version of the Document's shape.
const Schema = "1"

// A Document is the verdict as everybody reads it, flat at the top so that any
// poller can. One Document is one judgement at AsOf; it must not be believed
// after ValidUntil.
type Document struct {
	Schema        string             `json:"schema"`
	Rollout       string             `json:"rollout"`
	Service       string             `json:"service"`
	Version       string             `json:"version"`
	Strategy      alerts.Strategy    `json:"strategy"`
	Detected      bool               `json:"detected,omitempty"` // nobody has told of the rollout
	Stage         *Stage             `json:"stage,omitempty"`    // the newest one
	Verdict       Word               `json:"verdict"`
	Final         bool               `json:"final"`
	OK            bool               `json:"ok"`
	Percent       int                `json:"percent"`  // 100 only when the verdict is promote
	Progress      string             `json:"progress"` // one sentence
	Phase         string             `json:"phase"`
	LooksAt       []string           `json:"looksAt,omitempty"` // the gates that the phase is about, where there are several phases
	Seq           int64              `json:"seq"`               // counts transitions
	AsOf          time.Time          `json:"asOf"`
	ValidUntil    time.Time          `json:"validUntil"`
	DryRun        bool               `json:"dryRun"`
	Degraded      string             `json:"degraded,omitempty"` // why the judge cannot do all it should
	Reasons       []alerts.Finding   `json:"reasons"`            // what fires or pends, what decided first
	Missing       []Missing          `json:"missing"`
	Notes         []string           `json:"notes,omitempty"`         // what it cannot be judged by, as was told at its registration
	Findings      []alerts.Finding   `json:"gates,omitempty"`         // every finding, by gate; not in events
	MinDetectable map[string]float64 `json:"minDetectable,omitempty"` // by gate that counts: the smallest ratio to the baseline that would be found, 0: none
	SupersededBy  string             `json:"supersededBy,omitempty"`
	Override      *Override          `json:"override,omitempty"`
	Action        *Action            `json:"action,omitempty"`
}

// Missing is a gate from which nothing can be concluded.
type Missing struct {
	Gate   string       `json:"gate"`
	State  alerts.State `json:"state"`
	Since  time.Time    `json:"since,omitzero"`
	Blocks []Word       `json:"blocks,omitempty"`
	Why    string       `json:"why,omitempty"`
}

// An Action is the advised way back, the least costly first.
type Action struct {
	Kind         string   `json:"kind"` // flag, image or revert
	Flag         string   `json:"flag,omitempty"`
	Switch       string   `json:"switch,omitempty"` // where and how the flag is switched off: "redis main: SET ff:checkout-v2 false"
	Image        string   `json:"image,omitempty"`
	Commit       string   `json:"commit,omitempty"`
	Alternatives []Action `json:"alternatives,omitempty"`
	BlockedBy    []string `json:"blockedBy"`         // "schema": what was migrated no longer fits the previous version
	Reverse      []string `json:"reverse,omitempty"` // scripts to run with it, in this order

	// Of all ways together, so in the first only: what became different in the
	// databases since the registration, what breaks the previous version first; and
	// what to know besides, in sentences.
	Schema []alerts.SchemaChange `json:"schema,omitempty"`
	Notes  []string              `json:"notes,omitempty"`
}

// Stale says whether the Document must not be believed any more at now. A
// final verdict is not judged again, so it does not age.
func (d Document) Stale(now time.Time) bool {
	return !d.Final && now.After(d.ValidUntil)
}
