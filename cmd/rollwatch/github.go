package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rollwatch/rollwatch/verdict"
)

// reportToGitHub writes the verdict where a step of GitHub Actions leaves its
// outputs and its summary, if this is one.
func reportToGitHub(d verdict.Document) error {
	return errors.Join(
		appendTo(os.Getenv("GITHUB_OUTPUT"), githubOutputs(d)),
		appendTo(os.Getenv("GITHUB_STEP_SUMMARY"), githubSummary(d)),
	)
}

// githubOutputs are name=value lines. A value is one line: a line end in it
// would begin an output of its own.
func githubOutputs(d verdict.Document) string {
	var b strings.Builder
	for _, output := range [][2]string{
		{"verdict", string(d.Verdict)},
		{"rollout", d.Rollout},
		{"final", strconv.FormatBool(d.Final)},
		{"ok", strconv.FormatBool(d.OK)},
		{"dry_run", strconv.FormatBool(d.DryRun)},
		{"phase", d.Phase},
		{"progress", d.Progress},
	} {
		fmt.Fprintf(&b, "%s=%s\n", output[0], strings.Join(strings.Fields(output[1]), " "))
	}
	return b.String()
}

// githubSummary is a piece of Markdown for the page of the run.
func githubSummary(d verdict.Document) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s %s: %s\n\n%s\n", cell(d.Service), cell(d.Version), describeVerdict(d), cell(d.Progress))
	if len(d.Reasons) > 0 {
		b.WriteString("\n| gate | state | observed, limit | n | why |\n|---|---|---|---|---|\n")
	}
	for _, f := range d.Reasons {
		fmt.Fprintf(&b, "| %s | %s | %s | %g | %s |\n", cell(f.Gate), f.State, cell(describeNumbers(f)), f.N, cell(f.Message))
	}
	for i, m := range d.Missing {
		if i == 0 {
			b.WriteString("\nMissing:\n")
		}
		fmt.Fprintf(&b, "- %s: %s\n", cell(m.Gate), cell(cmp.Or(m.Why, string(m.State))))
	}
	if d.Action != nil {
		fmt.Fprintf(&b, "\nWay back: %s\n", cell(describeAction(*d.Action)))
		for _, change := range d.Action.Schema {
			fmt.Fprintf(&b, "- %s\n", cell(describeChange(change)))
		}
	}
	return b.String()
}

// cell keeps text within one cell of a table and on one line.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// appendTo appends text to a file that the runner has named; without a name
// there is no runner.
func appendTo(path, text string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("report to GitHub: %w", err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
