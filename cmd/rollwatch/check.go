package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// exitDown is the exit code of `rollwatch check` when something is down.
const exitDown = 1

func newCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read every target once and say how each is",
		Long: `Reads every target and every metrics page once and prints how each is. Exit
codes: 0 all are up, 1 one is down (required or not), 2 the configuration is bad,
or a file that it names cannot be used.`,
		Example: `  rollwatch check --config.file=rollwatch.yml
  DATABASE_URL=postgres://... rollwatch check -o json`,
		Args: wants(),
	}
	addConfigFlag(cmd)
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		config, err := loaderOf(cmd).loadWithFiles()
		if err != nil {
			return refusedConfig(err)
		}
		set, err := openTargets(config)
		if err != nil {
			return usage("%w", err)
		}
		results := checkResults(collector.ReadOnce(cmd.Context(), set.targets, zap.NewNop()))
		results = append(results, checkScrapes(cmd.Context(), config)...)
		if err := set.links.Close(); err != nil {
			return fmt.Errorf("close the connections: %w", err)
		}
		if err := showCheck(cmd.OutOrStdout(), results, config.Notices, output.value); err != nil {
			return err
		}
		if slices.ContainsFunc(results, func(r checkResult) bool { return r.State == stateDown }) {
			return &exitError{code: exitDown}
		}
		return nil
	}
	return cmd
}

// The states of a target in the output of check.
const (
	stateUp   = "up"
	stateDown = "down"
)

// A checkResult is one row of the output of check.
type checkResult struct {
	Kind         string         `json:"kind"`
	Name         string         `json:"name"`
	State        string         `json:"state"`
	Required     bool           `json:"required"`
	Milliseconds float64        `json:"milliseconds"`
	Problem      string         `json:"problem,omitempty"`
	Warning      string         `json:"warning,omitempty"` // what should be changed although it is up
	Missing      []string       `json:"missing,omitempty"` // views that are denied or failed
	Details      map[string]any `json:"details,omitempty"`
}

func checkResults(statuses []collector.Status) []checkResult {
	results := make([]checkResult, 0, len(statuses))
	for _, s := range statuses {
		r := checkResult{
			Kind: s.Kind, Name: s.Name, State: stateUp, Required: s.Required, Problem: s.Reading.Ill, Warning: s.Reading.Warning, Details: s.Reading.Details,
			Milliseconds: milliseconds(s.Duration),
		}
		if s.Err != nil {
			r.Problem = s.Err.Error()
		}
		if !s.Up || r.Problem != "" {
			r.State = stateDown
		}
		for _, view := range s.Reading.Views {
			if view.State == probe.ViewDenied || view.State == probe.ViewFailed {
				r.Missing = append(r.Missing, fmt.Sprintf("%s %s", view.Name, view.State))
			}
		}
		results = append(results, r)
	}
	return results
}

// milliseconds is a duration as people read it: to a tenth.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond).Microseconds()) / 1000
}

func showCheck(w io.Writer, results []checkResult, notices []string, form string) error {
	if form == outputJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(map[string]any{"targets": results, "notices": notices})
	}
	paint := painter(w)
	width := len("TARGET")
	for _, r := range results {
		width = max(width, len(r.Kind)+1+len(r.Name))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%-*s  %-5s  %9s  %s\n", width, "TARGET", "STATE", "TIME", "DETAIL")
	for _, r := range results {
		fmt.Fprintf(&out, "%-*s  %s  %6.1f ms  %s\n", width, r.Kind+" "+r.Name, paint(r.State), r.Milliseconds, oneLine(r.detail()))
	}
	for _, r := range results {
		if r.Warning != "" {
			fmt.Fprintf(&out, "warning: %s %s: %s\n", r.Kind, r.Name, oneLine(r.Warning))
		}
	}
	for _, notice := range notices {
		fmt.Fprintln(&out, "warning:", notice)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// detail says what is wrong with a target, or what it is.
func (r checkResult) detail() string {
	if r.Problem != "" {
		return r.Problem
	}
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(r.Details)) {
		switch value := r.Details[key].(type) {
		case string, bool, int, int64, float64:
			parts = append(parts, fmt.Sprintf("%s %v", key, value))
		}
	}
	return strings.Join(append(parts, r.Missing...), ", ")
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// painter colours the states, on a terminal that has not asked for none.
func painter(w io.Writer) func(state string) string {
	f, ok := w.(*os.File)
	coloured := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	return func(state string) string {
		padded := fmt.Sprintf("%-5s", state)
		if !coloured {
			return padded
		}
		if state == stateUp {
			return "\x1b[32m" + padded + "\x1b[0m"
		}
		return "\x1b[31m" + padded + "\x1b[0m"
	}
}
