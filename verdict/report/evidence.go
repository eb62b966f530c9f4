package report

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

func (d *draft) evidence() {
	d.linef("## Evidence")
	d.linef("")
	d.linef("As it stood at %s, when the verdict became %s.", moment(d.decided.At), plain(string(d.decided.Document.Verdict)))
	d.linef("")
	d.linef("| Gate | State | Observed | Limit | Baseline | n | Window | Since | Evidence | Attributed to |")
	d.linef("|---|---|---|---|---|---|---|---|---|---|")
	for _, f := range d.findings {
		since := ""
		if !f.Since.IsZero() {
			since = moment(f.Since)
		}
		gate := code(f.Gate)
		if len(f.Scope) > 0 {
			gate += " " + codes(pairs(f.Scope))
		}
		d.linef("| %s | %s (%s) | %s | %s | %s | %s | %s | %s | %s | %s |", gate, plain(string(f.State)), plain(string(f.Mode)),
			value(f.Observed, f.Unit), value(f.Limit, f.Unit), baselineOf(f), short(f.N), plain(f.Window), since, strength(f.Evidence), plain(string(f.Cause)))
	}
	d.linef("")
	for _, f := range d.findings {
		if f.Message != "" {
			d.linef("- %s: %s", code(f.Gate), plain(f.Message))
		}
	}
	d.linef("")
}

func value(v *float64, unit string) string {
	if v == nil {
		return ""
	}
	return plain(figure(*v, unit))
}

func baselineOf(f alerts.Finding) string {
	if f.Baseline == nil || f.Baseline.Kind == "none" {
		return "none"
	}
	text := fmt.Sprintf("%s (%s, n=%s", plain(figure(f.Baseline.Value, f.Unit)), plain(f.Baseline.Kind), short(f.Baseline.N))
	if f.Baseline.Rollout != "" {
		text += ", of " + code(f.Baseline.Rollout)
	}
	return text + ")"
}

// strength says how strong the evidence is, and how strong it had to be.
func strength(e *alerts.Evidence) string {
	if e == nil {
		return ""
	}
	parts := []string{plain(e.Method)}
	if e.Spans > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d spans over", e.SpansOver, e.Spans))
	}
	switch {
	case e.LogE != 0:
		parts = append(parts, fmt.Sprintf("log e %s of %s", short(e.LogE), short(e.Needed)))
	case e.Needed != 0:
		parts = append(parts, fmt.Sprintf("%s of %s nats", short(e.Guard), short(e.Needed)))
	}
	if e.Alpha != 0 {
		parts = append(parts, "alpha "+short(e.Alpha))
	}
	if e.Resolution != "" {
		parts = append(parts, plain(e.Resolution))
	}
	return strings.Join(parts, ", ")
}

func (d *draft) pictures() {
	if len(d.Pictures) == 0 {
		return
	}
	d.linef("## Pictures")
	d.linef("")
	var reasons []string // why there is no picture
	without := make(map[string][]string)
	for _, p := range d.Pictures {
		if p.Empty() {
			why := p.nothing()
			if without[why] == nil {
				reasons = append(reasons, why)
			}
			without[why] = append(without[why], code(p.Gate))
			continue
		}
		d.linef("### %s", plain(p.Gate))
		d.linef("")
		d.linef("![%s](data:image/svg+xml;base64,%s)", plain(p.Alt()), base64.StdEncoding.EncodeToString(p.SVG()))
		d.linef("")
		d.linef("*%s*", plain(p.Alt()))
		d.linef("")
	}
	for _, why := range reasons {
		d.linef("No picture of %s: %s.", strings.Join(without[why], ", "), plain(why))
		d.linef("")
	}
}

func (d *draft) queries() {
	d.linef("## Queries")
	d.linef("")
	drawn := map[string]bool{}
	for _, f := range d.findings {
		if f.Query == "" || drawn[f.Query] {
			continue
		}
		drawn[f.Query] = true
		d.linef("%s:", code(f.Gate))
		d.linef("")
		d.linef("%s", fenced("promql", f.Query))
		d.linef("")
	}
	if len(drawn) == 0 {
		d.linef("None of the gates has a query that draws it.")
		d.linef("")
	}
}

func (d *draft) missing() {
	d.linef("## What was missing")
	d.linef("")
	for _, note := range d.decided.Document.Notes {
		d.linef("- %s", plain(note))
	}
	if len(d.decided.Document.Notes) > 0 {
		d.linef("")
	}
	missing := d.decided.Document.Missing
	if len(missing) == 0 {
		d.linef("Nothing: every gate had something to say.")
		d.linef("")
		return
	}
	d.linef("| Gate | State | Since | Blocks | Why |")
	d.linef("|---|---|---|---|---|")
	for _, m := range missing {
		since := ""
		if !m.Since.IsZero() {
			since = moment(m.Since)
		}
		var blocks []string
		for _, word := range m.Blocks {
			blocks = append(blocks, plain(string(word)))
		}
		d.linef("| %s | %s | %s | %s | %s |", code(m.Gate), plain(string(m.State)), since, strings.Join(blocks, ", "), plain(m.Why))
	}
	d.linef("")
}

func (d *draft) wayBack() {
	d.linef("## The way back")
	d.linef("")
	switch action := d.decided.Document.Action; {
	case d.decided.Document.Verdict != verdict.Rollback:
		d.linef("None was advised: the verdict was not to roll back.")
	case action == nil:
		d.linef("None was advised: the registration named no previous image and no commit, and no feature flag that is on.")
	default:
		d.linef("Advised, the least costly first:")
		d.linef("")
		d.linef("1. %s", way(*action))
		for i, other := range action.Alternatives {
			d.linef("%d. %s", i+2, way(other))
		}
		d.besides(*action)
	}
	d.linef("")
}

// besides tells what became different in the databases, and what to know.
func (d *draft) besides(a verdict.Action) {
	if len(a.Schema)+len(a.Notes) > 0 {
		d.linef("")
	}
	for _, change := range a.Schema {
		breaks := ""
		if change.Breaks {
			breaks = ": **the previous version may fail on it**"
		}
		d.linef("- In %s %s%s", code(change.Database), plain(change.Sentence), breaks)
	}
	for _, note := range a.Notes {
		d.linef("- %s", plain(note))
	}
}

func way(a verdict.Action) string {
	text := map[string]string{
		"flag":   "switch off the feature flag " + codeOr(a.Flag) + switched(a.Switch),
		"image":  "deploy the image " + codeOr(a.Image),
		"revert": "revert the commit " + codeOr(a.Commit),
	}[a.Kind]
	switch {
	case text == "":
		text = plain(a.Kind)
	case a.Kind == "revert" && a.Commit == "":
		text = "go back to what ran before: no way back was declared"
	}
	if len(a.Reverse) > 0 {
		text += ", and run " + codes(a.Reverse) + " in this order"
	}
	if len(a.BlockedBy) > 0 {
		text += "; **blocked by** " + codes(a.BlockedBy)
	}
	return text
}

// switched says where and how, where that is known.
func switched(how string) string {
	if how == "" {
		return ""
	}
	return " (" + code(how) + ")"
}

func (d *draft) forPeople() {
	d.linef("## To be filled in")
	d.linef("")
	for _, question := range []string{
		"What did users notice, and how many of them?", "What was the cause?",
		"What should have found it before production?", "What is changed, by whom, until when?",
	} {
		d.linef("- [ ] %s", question)
	}
}
