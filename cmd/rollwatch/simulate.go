package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/internal/simulate"
)

// How often each cell is simulated for the published page: a false rollback in a
// thousand must show.
const (
	publishedNulls  = 4000
	publishedOthers = 300
	publishedProbed = 20
	endToEndRuns    = 1
	scale           = 100 // percent
	garbage         = 800 // percent of what is in use, which is little: collecting it costs time
)

func newSimulateCommand() *cobra.Command {
	seeds := &choice{value: string(simulate.Dev), allowed: []string{string(simulate.Dev), string(simulate.Published)}}
	var out string
	var runs, workers, whole int
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Measure how good the verdicts are, and those of other judges, on labelled rollouts",
		Long: `Plays labelled rollouts on simulated time, by every strategy and from 0.1 to 200
requests a second, and judges them by the gates and the verdict of this program,
and by models of Argo Rollouts, Flagger, Kayenta, a burn-rate alert and a plain
threshold. The same seeds give the same page, however many processors there are.
Tune with --seeds=dev; the published page is made of seeds that nothing was
tuned with.`,
		Example: "  rollwatch simulate --runs=5\n  rollwatch simulate --seeds=published --out=docs",
		Args:    wants(),
	}
	cmd.Flags().Var(seeds, "seeds", "random numbers: those to tune with, or those that are published")
	cmd.Flags().StringVar(&out, "out", "", "folder to write the page, its pictures and the table to; without it the limits are printed")
	cmd.Flags().IntVar(&runs, "runs", scale, "percent of the published number of runs")
	cmd.Flags().IntVar(&whole, "end-to-end", endToEndRuns, "runs of each scenario and strategy that go through series and the window as well")
	cmd.Flags().IntVar(&workers, "workers", 0, "runs at the same time; 0: one for each processor")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if runs <= 0 || whole < 0 || workers < 0 {
			return usage("--runs must be positive, --end-to-end and --workers not negative")
		}
		some := func(n int) int { return max(2, n*runs/scale) }
		options := simulate.Options{
			Seeds: simulate.Seeds(seeds.value), Nulls: some(publishedNulls), Others: some(publishedOthers), Probed: some(publishedProbed), Workers: workers,
		}
		return runSimulation(cmd, options, whole, out)
	}
	return cmd
}

// throughSeries says which cells are judged a second time from their series: one by
// each strategy, since that takes a thousand times as long.
func throughSeries(_ simulate.Scenario, r simulate.Rollout, rps float64) bool {
	return rps == 20 && (r.Strategy != alerts.Canary || r.Share == 0.1)
}

func runSimulation(cmd *cobra.Command, options simulate.Options, whole int, out string) error {
	debug.SetGCPercent(garbage)
	begin := time.Now()
	var shown int
	options.Progress = func(done, all int) {
		if tenth := 10 * done / max(1, all); tenth > shown {
			shown = tenth
			fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d runs after %s\n", done, all, time.Since(begin).Round(time.Second))
		}
	}
	result, err := simulate.Run(cmd.Context(), options)
	if err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	options.Only = throughSeries
	different, all, err := simulate.EndToEnd(cmd.Context(), options, whole)
	if err != nil {
		return fmt.Errorf("simulate end to end: %w", err)
	}
	w := cmd.OutOrStdout()
	for _, l := range result.Limits() {
		fmt.Fprintf(w, "%-8s %s: %s\n", map[bool]string{true: "held", false: "NOT HELD"}[l.Held], l.Text, l.Said)
	}
	fmt.Fprintf(w, "end to end the same in %d of %d; %s of processor time for each of %d watches; %s in all\n", all-len(different), all,
		(result.Judging / time.Duration(max(1, result.Watches))).Round(10*time.Microsecond), result.Watches, time.Since(begin).Round(time.Second))
	if out == "" {
		return nil
	}
	for name, text := range result.Pages(different, all) {
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the page: %w", err)
		}
	}
	return nil
}
