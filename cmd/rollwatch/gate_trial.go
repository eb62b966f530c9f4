package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/cmd/rollwatch/strictyaml"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/verdict"
)

// maxJudgements of one rollout in a test: half a year at every 15 seconds.
const maxJudgements = 1_000_000

// A gateTestFile is a file of `rollwatch gate test`. Time starts at 0.
type gateTestFile struct {
	Config   string         `yaml:"config"`   // the configuration under test, relative to the file
	Interval model.Duration `yaml:"interval"` // between two values of a series, and between two judgements
	Tests    []gateTest     `yaml:"tests"`
}

// A gateTest is one rollout, and what must be said of it.
type gateTest struct {
	Name        string                  `yaml:"name"`
	InputSeries []collector.InputSeries `yaml:"input_series"`
	Rollout     testRollout             `yaml:"rollout"`
	Verdicts    []wantedVerdict         `yaml:"verdicts"`
}

type testRollout struct {
	Service         string         `yaml:"service"`
	Version         string         `yaml:"version"`
	PreviousVersion string         `yaml:"previous_version"`
	Strategy        string         `yaml:"strategy" jsonschema:"enum=rolling,enum=blue-green,enum=canary"`
	Kind            string         `yaml:"kind" jsonschema:"enum=deploy,enum=rollback"`
	StartedAt       model.Duration `yaml:"started_at"`
}

// A wantedVerdict is what must be (or not be) at one time.
type wantedVerdict struct {
	At      model.Duration `yaml:"at"`
	Verdict string         `yaml:"verdict" jsonschema:"enum=continue,enum=promote,enum=hold,enum=rollback"`
	Not     string         `yaml:"not" jsonschema:"enum=continue,enum=promote,enum=hold,enum=rollback"`
	Gate    string         `yaml:"gate"`    // that must be among the reasons
	Missing string         `yaml:"missing"` // that must be among what is missing
}

func newGateTest() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Test the gates of a configuration against series and the verdicts that are expected",
		Long: `Judges the rollouts of test files by the very code that judges, on series in
promtool's notation, and compares the verdicts. It ends with 0 when all are as
expected, with 1 when not, and with 2 when a file has faults. The configuration
under test is the one that the file names in config, relative to itself; of a
file that names none, the one of --config.file.`,
		Example: "  rollwatch gate test gates-test.yml",
		Args: func(cmd *cobra.Command, files []string) error {
			if len(files) == 0 {
				return usage("%s wants the file of a test, or several; see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
	}
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		failed := 0
		for _, file := range files {
			n, err := runGateTests(cmd.Context(), cmd.OutOrStdout(), file, loaderOf(cmd))
			if err != nil {
				return err
			}
			failed += n
		}
		if failed > 0 {
			return &exitError{code: exitFailure}
		}
		return nil
	}
	return cmd
}

// runGateTests runs the tests of one file and answers how many failed. The loader
// is for a file that names no configuration.
func runGateTests(ctx context.Context, w io.Writer, file string, loader configLoader) (failed int, err error) {
	tests, err := readGateTests(file)
	if err != nil {
		return 0, err
	}
	switch {
	case tests.Config != "":
		loader = configLoader{file: filepath.Join(filepath.Dir(file), tests.Config), lookup: os.LookupEnv}
	case loader.file == "":
		return 0, usage("%s: no config: name the configuration under test, relative to the file, or give --config.file", file)
	}
	config, err := loader.load()
	if err != nil {
		return 0, &exitError{code: exitUsage, err: err}
	}
	for _, test := range tests.Tests {
		differences, err := test.run(ctx, config, time.Duration(tests.Interval))
		if err != nil {
			return 0, usage("%s: test %q: %v", file, test.Name, err)
		}
		if len(differences) == 0 {
			fmt.Fprintf(w, "ok    %s\n", test.Name)
			continue
		}
		failed++
		fmt.Fprintf(w, "FAIL  %s\n        %s\n", test.Name, strings.Join(differences, "\n        "))
	}
	return failed, nil
}

func readGateTests(file string) (gateTestFile, error) {
	text, err := readAtMost(file, strictyaml.MaxSize+1)
	if err != nil {
		return gateTestFile{}, usage("read the tests: %v", err)
	}
	tests := gateTestFile{Interval: model.Duration(15 * time.Second)}
	root, faults := strictyaml.Parse(file, text)
	if len(faults) == 0 {
		faults = gateTestSchema().Check(root)
	}
	if len(faults) == 0 {
		faults = root.Decode(&tests)
	}
	if len(faults) > 0 {
		return gateTestFile{}, &exitError{code: exitUsage, err: &faultyError{faults}}
	}
	switch {
	case tests.Interval <= 0:
		return gateTestFile{}, usage("%s: interval: a positive time is needed, as in 15s", file)
	case len(tests.Tests) == 0:
		return gateTestFile{}, usage("%s: no tests", file)
	}
	return tests, nil
}

// run judges the rollout at each interval and compares what is said at the times
// that the test names.
func (g gateTest) run(ctx context.Context, config *Config, interval time.Duration) (differences []string, err error) {
	service := config.service(g.Rollout.Service)
	if service == nil {
		return nil, fmt.Errorf("rollout.service: the configuration has no service named %q", g.Rollout.Service)
	}
	if len(g.Verdicts) == 0 {
		return nil, errors.New("no verdicts are expected")
	}
	window, err := collector.ParseMemory(interval, g.InputSeries)
	if err != nil {
		return nil, err
	}
	begin := time.Unix(0, 0).UTC()
	started := begin.Add(time.Duration(g.Rollout.StartedAt))
	trial, err := verdict.NewTrial(ctx, window, service, alerts.Gates(config.Gates, service), config.Judge, interval, verdict.Registration{
		Service: service.Name, Version: g.Rollout.Version, PreviousVersion: g.Rollout.PreviousVersion,
		Strategy: alerts.Strategy(g.Rollout.Strategy), Kind: verdict.Kind(g.Rollout.Kind), StartedAt: started,
	})
	if err != nil {
		return nil, fmt.Errorf("rollout: %w", err)
	}
	wanted := slices.Clone(g.Verdicts)
	slices.SortStableFunc(wanted, func(a, b wantedVerdict) int { return int(a.At - b.At) })
	now := started
	for _, want := range wanted {
		at := begin.Add(time.Duration(want.At))
		if at.Before(started) {
			return nil, fmt.Errorf("verdicts: at %s is before the rollout, which starts at %s", want.At, g.Rollout.StartedAt)
		}
		if at.Sub(started)/interval > maxJudgements {
			return nil, fmt.Errorf("verdicts: at %s is more than %d judgements after the rollout starts, one each interval of %s", want.At, maxJudgements, interval)
		}
		for now.Before(at) {
			if err := ctx.Err(); err != nil {
				return nil, err // nothing below waits for anything
			}
			if now = now.Add(interval); now.After(at) {
				now = at
			}
			if _, err := trial.At(ctx, now); err != nil {
				return nil, err
			}
		}
		doc, err := trial.At(ctx, at)
		if err != nil {
			return nil, err
		}
		if difference := want.compare(doc); difference != "" {
			differences = append(differences, fmt.Sprintf("at %s: %s", want.At, difference))
		}
	}
	return differences, nil
}

// compare says what is not as wanted; "" when all is.
func (want wantedVerdict) compare(doc verdict.Document) string {
	var wrong []string
	if want.Verdict != "" && string(doc.Verdict) != want.Verdict {
		wrong = append(wrong, fmt.Sprintf("the verdict is %s, not %s", doc.Verdict, want.Verdict))
	}
	if want.Not != "" && string(doc.Verdict) == want.Not {
		wrong = append(wrong, "the verdict is "+want.Not)
	}
	var reasons, missing []string
	for _, f := range doc.Reasons {
		reasons = append(reasons, f.Gate)
	}
	for _, m := range doc.Missing {
		missing = append(missing, m.Gate)
	}
	if want.Gate != "" && !slices.Contains(reasons, want.Gate) {
		wrong = append(wrong, fmt.Sprintf("%s is not among the reasons (%s)", want.Gate, orNone(reasons)))
	}
	if want.Missing != "" && !slices.Contains(missing, want.Missing) {
		wrong = append(wrong, fmt.Sprintf("%s is not missing (%s)", want.Missing, orNone(missing)))
	}
	if len(wrong) == 0 {
		return ""
	}
	return strings.Join(wrong, "; ") + ": " + doc.Progress
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none is"
	}
	return strings.Join(names, ", ")
}
