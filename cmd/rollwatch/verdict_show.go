package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

// showVerdict prints a verdict for people, or as it came.
func showVerdict(w io.Writer, a *answer, form string) error {
	if form == outputJSON {
		return printJSON(w, a.raw)
	}
	d := a.document
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(label, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", label, fmt.Sprintf(format, args...))
	}
	detected := ""
	if d.Detected {
		detected = ", detected"
	}
	line("rollout", "%s: %s %s, %s%s", d.Rollout, d.Service, d.Version, d.Strategy, detected)
	line("verdict", "%s", describeVerdict(d))
	line("progress", "%s", oneLine(d.Progress))
	line("phase", "%s, %d %%%s", d.Phase, d.Percent, prefixed(", looks at ", strings.Join(d.LooksAt, ", ")))
	if d.Stage != nil {
		line("stage", "%s", describeStage(*d.Stage))
	}
	if d.Degraded != "" {
		line("degraded", "%s", d.Degraded)
	}
	if d.Override != nil {
		line("override", "%s by %s until %s: %s", d.Override.Verdict, d.Override.Author, d.Override.Until.Format("2006-01-02 15:04 MST"), d.Override.Reason)
	}
	for i, f := range d.Reasons {
		line(heading("reasons", i), "%s %s (%s): %s", f.Gate, f.State, f.Mode, oneLine(f.Message))
	}
	for i, m := range d.Missing {
		line(heading("missing", i), "%s %s%s", m.Gate, m.State, prefixed(": ", oneLine(m.Why)))
	}
	for i, note := range d.Notes {
		line(heading("to know", i), "%s", oneLine(note))
	}
	if d.Action != nil {
		line("way back", "%s", describeAction(*d.Action))
		for _, other := range d.Action.Alternatives {
			line("", "or %s", describeAction(other))
		}
		for i, change := range d.Action.Schema {
			line(heading("schema", i), "%s", describeChange(change))
		}
		for i, note := range d.Action.Notes {
			line(heading("notes", i), "%s", oneLine(note))
		}
	}
	return table.Flush()
}

// heading stands before the first of several lines only.
func heading(label string, i int) string {
	if i > 0 {
		return ""
	}
	return label
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func describeStage(s verdict.Stage) string {
	var parts []string
	if s.Weight != nil {
		parts = append(parts, fmt.Sprintf("%g %% of the traffic", *s.Weight))
	}
	if s.Note != "" {
		parts = append(parts, oneLine(s.Note))
	}
	return strings.Join(append(parts, "since "+s.At.Format("15:04:05 MST")), ", ")
}

func describeVerdict(d verdict.Document) string {
	words := []string{string(d.Verdict)}
	if d.Final {
		words = append(words, "final")
	}
	if d.DryRun {
		words = append(words, "dry run: nothing is blocked")
	}
	if d.SupersededBy != "" {
		words = append(words, "superseded by "+d.SupersededBy)
	}
	return strings.Join(words, ", ")
}

func describeAction(a verdict.Action) string {
	var text string
	switch a.Kind {
	case "flag":
		text = "turn off the flag " + a.Flag + prefixed(", as ", a.Switch)
	case "image":
		text = "deploy the image " + a.Image
	case "revert":
		text = "revert the commit " + a.Commit
		if a.Commit == "" {
			text = "go back to what ran before: no way back was declared"
		}
	default:
		text = a.Kind
	}
	for _, script := range a.Reverse {
		text += ", run " + script
	}
	if len(a.BlockedBy) > 0 {
		text += " (blocked by " + strings.Join(a.BlockedBy, ", ") + ")"
	}
	return text
}

// describeChange says what became different in a database.
func describeChange(c alerts.SchemaChange) string {
	text := c.Database + ": " + oneLine(c.Sentence)
	if c.Breaks {
		text += " (the previous version may fail on it)"
	}
	return text
}

// describeNumbers says what a gate saw, in one cell of a table.
func describeNumbers(f alerts.Finding) string {
	number := func(v *float64) string {
		if v == nil {
			return "-"
		}
		return strconv.FormatFloat(*v, 'g', 4, 64)
	}
	return fmt.Sprintf("%s of %s %s", number(f.Observed), number(f.Limit), f.Unit)
}
