package verdict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/alerts"
)

// document writes a decision down with its reasons.
func (c *sitting) document(d decision) Document {
	doc := Document{
		Schema:       Schema,
		Rollout:      c.ID,
		Service:      c.Service,
		Version:      c.Version,
		Strategy:     c.Strategy,
		Detected:     c.Detected,
		Stage:        c.stage(),
		Verdict:      d.word,
		Final:        d.final,
		OK:           c.policy.DryRun || d.word == Continue || d.word == Promote,
		Percent:      c.percent(d.word),
		Progress:     c.progress(d),
		Phase:        c.policy.Phase(c.Strategy, c.elapsed),
		LooksAt:      c.looksAt(),
		AsOf:         c.now,
		ValidUntil:   c.now.Add(c.policy.Validity),
		DryRun:       c.policy.DryRun,
		Reasons:      c.reasons(d.by),
		Missing:      c.missing(),
		Notes:        c.Notes,
		Findings:     c.findings,
		SupersededBy: c.SupersededBy,

		MinDetectable: c.minDetectable(),
	}
	if c.overrideInForce() {
		override := *c.Override
		doc.Override = &override
	}
	if d.word == Rollback {
		doc.Action = advise(c.Rollout, ground{})
	}
	return doc
}

// stage is the newest stage, nil before the first.
func (c *sitting) stage() *Stage {
	if len(c.Stages) == 0 {
		return nil
	}
	return &c.Stages[len(c.Stages)-1]
}

// percent is how much of the watch has passed; 100 is kept for a promotion,
// because pollers take it for success.
func (c *sitting) percent(word Word) int {
	if word == Promote {
		return 100
	}
	return int(min(99, max(0, 100*c.elapsed/max(1, c.watch))))
}

// progress is the whole verdict in one sentence.
func (c *sitting) progress(d decision) string {
	verb := map[Word]string{Continue: "continue", Promote: "promote", HoldOn: "hold", Rollback: "roll back"}[d.word]
	why := d.why
	switch {
	case why != "":
	case d.word == Continue:
		why = c.watched()
	default:
		why = c.inWords(d.by)
	}
	return verb + ": " + why
}

// watched tells how far the watch is, and what is not as it should be.
func (c *sitting) watched() string {
	text := fmt.Sprintf("%s of %s watched", rounded(c.elapsed), rounded(c.watch))
	open := c.those(accuses)
	if len(open) > 0 {
		text += "; not decisive: " + c.inWords(open)
	}
	return text
}

// inWords names the first of the findings in full and counts the rest. What fires
// or pends is told by what it saw, however much of the time it saw.
func (c *sitting) inWords(findings []alerts.Finding) string {
	first := findings[0]
	text := first.Message
	if why := c.uncovered(first); why != "" && !accuses(first) {
		text = first.Gate + ": " + why
	}
	text = cmp.Or(text, first.Gate+" is "+string(first.State))
	if first.State == alerts.Firing && first.Cause != "" && first.Cause != alerts.Version {
		text += " (attributed to the " + string(first.Cause) + ")"
	}
	if more := len(findings) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// accuses says whether a finding is against the version, proven or not.
func accuses(f alerts.Finding) bool { return f.State == alerts.Firing || f.State == alerts.Pending }

// reasons are the findings that fire or pend, those that decided first.
func (c *sitting) reasons(decided []alerts.Finding) []alerts.Finding {
	reasons := []alerts.Finding{}
	for _, f := range decided {
		if accuses(f) {
			reasons = append(reasons, f)
		}
	}
	for _, f := range c.findings {
		isThis := func(g alerts.Finding) bool { return compareFindings(f, g) == 0 }
		if accuses(f) && !slices.ContainsFunc(reasons, isThis) {
			reasons = append(reasons, f)
		}
	}
	return reasons
}

// missing lists the gates from which nothing can be concluded, or not enough
// to promote, with what that blocks.
func (c *sitting) missing() []Missing {
	missing := []Missing{}
	for _, f := range c.findings {
		why := c.uncovered(f)
		if f.State == alerts.Firing || why == "" && !f.State.Missing() {
			continue
		}
		m := Missing{Gate: f.Gate, State: f.State, Since: f.Since, Why: cmp.Or(why, missingInWords(f))}
		if required(f) {
			m.Blocks = []Word{Promote}
		}
		if c.isLost(f) {
			m.Blocks = []Word{Continue, Promote}
		}
		missing = append(missing, m)
	}
	return missing
}

// minDetectable is, by gate that counts, the smallest ratio to the baseline that
// would have been found; 0 where none would.
func (c *sitting) minDetectable() map[string]float64 {
	ratios := make(map[string]float64)
	for _, f := range c.findings {
		if f.Counts && isNumber(f.MinDetectable) {
			ratios[f.Gate] = f.MinDetectable
		}
	}
	return ratios
}

// missingInWords says what is missing, and of series what the gate knows of it: that
// another version is there in place of the one that was registered, say.
func missingInWords(f alerts.Finding) string {
	if f.State == alerts.NoSeries && f.Message != "" {
		return stateInWords(f.State) + ": " + f.Message
	}
	return stateInWords(f.State)
}

func stateInWords(s alerts.State) string {
	switch s {
	case alerts.NoTraffic:
		return "no traffic"
	case alerts.NoSeries:
		return "no such series"
	case alerts.SourceDown:
		return "its source is down"
	default:
		return strings.ReplaceAll(string(s), "_", " ")
	}
}

func coverageInWords(coverage float64) string {
	return fmt.Sprintf("observed in %.0f%% of the time, %.0f%% needed", 100*coverage, 100*neededCoverage)
}

// blindInWords is rounded up: what is said to be found would be.
func blindInWords(f alerts.Finding, wanted float64) string {
	if f.MinDetectable == 0 {
		return fmt.Sprintf("so few observations (n=%.0f) find no effect, %gx must be found", f.N, wanted)
	}
	return fmt.Sprintf("so few observations (n=%.0f) find %.1fx the baseline or more, %gx must be found", f.N, math.Ceil(10*f.MinDetectable)/10, wanted)
}

func thinInWords(n float64) string {
	return fmt.Sprintf("too few observations (n=%.0f)", n)
}

// rounded writes a length of time as people do, to the second.
func rounded(d time.Duration) string {
	return model.Duration(max(0, d).Truncate(time.Second)).String()
}

// compareFindings is a total order, so that documents do not depend on the
// order in which gates were evaluated.
func compareFindings(a, b alerts.Finding) int {
	if a.Gate != b.Gate { // as a rule: to write the scopes takes longer
		return cmp.Compare(a.Gate, b.Gate)
	}
	return cmp.Or(
		cmp.Compare(fmt.Sprint(a.Scope), fmt.Sprint(b.Scope)),
		cmp.Compare(a.State, b.State),
		cmp.Compare(a.Cause, b.Cause),
		cmp.Compare(a.Message, b.Message),
	)
}
