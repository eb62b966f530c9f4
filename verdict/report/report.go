// Package report drafts the post-mortem of a rollout in Markdown, and draws what
// its gates saw as SVG. Both are pure functions of what is on record and of
// what the window still holds: nothing is judged again, nothing is rounded off
// that decided. What comes from outside (versions, labels, reasons) is shown
// as text, never taken for markup.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

// A Report is what a draft is made of.
type Report struct {
	History  verdict.History
	Now      time.Time // the time of the draft
	Pictures []Picture // of the gates, in order
}

// Span is the stretch of time that the pictures of a rollout show: a quarter of
// an hour before it (or as long as it has lasted, if that is less), and until
// nothing more was judged.
func Span(h verdict.History, now time.Time) (from, to time.Time) {
	const before, after, least = 15 * time.Minute, 5 * time.Minute, time.Minute
	start := h.Rollout.StartedAt
	to = now
	if h.Rollout.Final && len(h.Transitions) > 0 {
		last := h.Transitions[len(h.Transitions)-1].At
		if h.Rollout.FinishedAt.After(last) {
			last = h.Rollout.FinishedAt
		}
		if end := last.Add(after); end.Before(now) {
			to = end
		}
	}
	if to.Before(start.Add(least)) {
		to = start.Add(least)
	}
	return start.Add(-min(before, max(least, to.Sub(start)))), to
}

// Findings are those that explain the verdict: of the document with which the
// verdict became what it is. False when the rollout was never judged.
func Findings(h verdict.History) ([]alerts.Finding, bool) {
	t, ok := deciding(h)
	if !ok {
		return nil, false
	}
	findings := slices.Clone(t.Document.Reasons)
	for _, f := range t.Document.Findings {
		known := func(g alerts.Finding) bool { return g.Gate == f.Gate && fmt.Sprint(g.Scope) == fmt.Sprint(f.Scope) }
		if !slices.ContainsFunc(findings, known) {
			findings = append(findings, f)
		}
	}
	return findings, true
}

// deciding is the transition with which the verdict became what it is now.
func deciding(h verdict.History) (verdict.Transition, bool) {
	n := len(h.Transitions)
	if n == 0 {
		return verdict.Transition{}, false
	}
	i := n - 1
	for i > 0 && h.Transitions[i-1].Document.Verdict == h.Transitions[n-1].Document.Verdict {
		i--
	}
	return h.Transitions[i], true
}

// Markdown writes the draft.
func (r Report) Markdown() string {
	d := &draft{Report: r}
	d.decided, d.judged = deciding(r.History)
	d.findings, _ = Findings(r.History)
	d.heading()
	d.summary()
	d.timeline()
	if d.judged {
		d.evidence()
		d.pictures()
		d.queries()
		d.missing()
		d.wayBack()
	}
	d.forPeople()
	return d.out.String()
}

// A draft is a Report being written.
type draft struct {
	Report

	out      strings.Builder
	judged   bool
	decided  verdict.Transition
	findings []alerts.Finding
}

func (d *draft) linef(format string, args ...any) { fmt.Fprintf(&d.out, format+"\n", args...) }

// became says in the past tense what a verdict was.
var became = map[verdict.Word]string{
	verdict.Continue: "is under watch", verdict.Promote: "was promoted", verdict.HoldOn: "was held", verdict.Rollback: "was to be rolled back",
}

func (d *draft) heading() {
	r := d.History.Rollout
	what := "was not judged yet"
	if d.judged {
		what = became[d.decided.Document.Verdict]
	}
	d.linef("# Post-mortem draft: %s %s %s", plain(r.Service), plain(r.Version), what)
	d.linef("")
	d.linef("Drafted by rollwatch at %s from its record. What a program cannot know is left open at the end.", moment(d.Now))
	d.linef("")
}

func (d *draft) summary() {
	r := d.History.Rollout
	d.linef("## Summary")
	d.linef("")
	if d.judged {
		d.linef("**%s**", plain(d.decided.Document.Progress))
		d.linef("")
	}
	d.linef("| | |")
	d.linef("|---|---|")
	row := func(name, value string) {
		if value != "" {
			d.linef("| %s | %s |", name, value)
		}
	}
	row("Rollout", code(r.ID))
	row("What", d.what())
	row("When", d.when())
	row("Verdict", d.verdict())
	row("Decided by", d.by())
	row("Impact", d.impact())
	row("Commit", codeOr(r.Commit))
	row("Image", codeOr(r.Image))
	row("Feature flags", codes(r.FeatureFlags))
	row("Migrations", d.migrations())
	row("Labels", codes(pairs(r.Labels)))
	row("Baseline", d.baseline())
	d.linef("")
}

func (d *draft) what() string {
	r := d.History.Rollout
	version := code(r.Version)
	if r.PreviousVersion != "" {
		version = code(r.PreviousVersion) + " → " + version
	}
	return fmt.Sprintf("%s %s, %s %s", code(r.Service), version, plain(string(r.Strategy)), plain(string(cmp.Or(r.Kind, verdict.Deploy))))
}

func (d *draft) when() string {
	r := d.History.Rollout
	text := "started " + moment(r.StartedAt)
	if !r.FinishedAt.IsZero() {
		text += fmt.Sprintf(", finished %s (%s later): %s", moment(r.FinishedAt), lasted(r.FinishedAt.Sub(r.StartedAt)), plain(string(r.Outcome)))
	} else {
		text += ", not finished"
	}
	return text
}

func (d *draft) verdict() string {
	if !d.judged {
		return "none yet"
	}
	doc := d.decided.Document
	text := fmt.Sprintf("**%s** at %s, %s after the start, in phase %s", plain(string(doc.Verdict)), moment(d.decided.At),
		lasted(d.decided.At.Sub(d.History.Rollout.StartedAt)), plain(doc.Phase))
	if d.History.Rollout.Final {
		text += "; final"
	}
	if doc.DryRun {
		text += "; a dry run: no gate was closed"
	}
	return text
}

func (d *draft) by() string {
	doc := d.decided.Document
	if doc.Override != nil {
		return code(doc.Override.Author) + ", by an override"
	}
	var gates []string
	for _, f := range doc.Reasons {
		if f.State == alerts.Firing {
			gate := code(f.Gate)
			if f.Cause != "" {
				gate += " (attributed to the " + plain(string(f.Cause)) + ")"
			}
			gates = append(gates, gate)
		}
	}
	return strings.Join(gates, ", ")
}

// impact says what the evidence is worth in cases, and for how long the version
// that was to be rolled back was in production.
func (d *draft) impact() string {
	var parts []string
	for _, f := range d.decided.Document.Reasons {
		if f.State == alerts.Firing && f.Unit == "ratio" && f.Observed != nil && f.N > 0 {
			within := "since the start"
			if f.Window != "" {
				within = "in the " + plain(f.Window) + " that decided"
			}
			parts = append(parts, fmt.Sprintf("about %.0f of %.0f observations of %s were bad %s", *f.Observed*f.N, f.N, code(f.Gate), within))
		}
	}
	r := d.History.Rollout
	if d.judged && d.decided.Document.Verdict == verdict.Rollback {
		end, open := r.FinishedAt, ""
		if end.IsZero() {
			end, open = d.Now, " and more: its end was not told"
		}
		parts = append(parts, fmt.Sprintf("the version was in production for %s%s, %s of it after the verdict",
			lasted(end.Sub(r.StartedAt)), open, lasted(end.Sub(d.decided.At))))
	}
	return strings.Join(parts, "; ")
}

func (d *draft) migrations() string {
	var all []string
	for _, m := range d.History.Rollout.Migrations {
		text := code(m.Tool+" "+m.Name) + " (" + plain(m.Kind)
		if m.Reverse != "" {
			text += ", undone by " + code(m.Reverse)
		}
		all = append(all, text+")")
	}
	return strings.Join(all, ", ")
}

func (d *draft) baseline() string {
	b := d.History.Rollout.Baseline
	if b.ID == "" {
		return "none: nothing was known of the service before"
	}
	return fmt.Sprintf("%s %s, frozen at registration", plain(b.Kind), code(b.ID))
}
