package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
)

// A replayCommand is what the flags of `rollwatch replay` say.
type replayCommand struct {
	dataDir        string // empty: that of the configuration
	prometheus     string
	prometheusFile string // holds it; both empty: the window in dataDir
	file           string // of a rollout, in place of the ledger
	startedAt      string
	until          string
	reg            verdict.Registration
}

func newReplayCommand() *cobra.Command {
	var r replayCommand
	strategy := &choice{value: string(alerts.Rolling), allowed: []string{string(alerts.Rolling), string(alerts.BlueGreen), string(alerts.Canary)}}
	cmd := &cobra.Command{
		Use:   "replay [ROLLOUT]",
		Short: "Judge a past rollout again, and show where the verdict would have been another",
		Long: `Judges a past rollout again at every tick, by the very code that judges, and
prints where the verdict would have been another than it was. The record and the
past come from the data_dir of the configuration, also while the daemon runs:
nothing is locked or changed. The gates are those of the configuration, so that
another file answers "what if the limit were 2 %?".

With --prometheus.url the past is that of a Prometheus, Thanos, Mimir or
VictoriaMetrics. A rollout that no ledger has is given by --file (as "rollwatch
rollout show" prints it) or by --service, --version and --started-at.

Exit codes: 0 the same verdict throughout (or nothing on record to compare
with), 1 another verdict for longer than one interval, 2 it could not be judged
again.`,
		Example: `  rollwatch replay r-20261123-0412-api --config.file=rollwatch.yml
  rollwatch replay r-20261123-0412-api --config.file=two-percent.yml -o json
  rollwatch replay --service=api --version=2.4.0 --started-at=2026-11-23T04:12:00Z --prometheus.url=http://prometheus:9090`,
		Args: cobra.MaximumNArgs(1),
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&r.dataDir, "data-dir", "", "folder of the ledger and the window (default: data_dir of the configuration)")
	flags.StringVar(&r.prometheus, "prometheus.url", "", "judge on the past that this server holds")
	flags.StringVar(&r.prometheusFile, "prometheus.url-file", "", "the same, of an address with a password: the file that holds it")
	flags.StringVar(&r.file, "file", "", "the rollout, as JSON")
	flags.StringVar(&r.reg.Service, "service", "", "the service of a rollout that is not on record")
	flags.StringVar(&r.reg.Version, "version", "", "its version")
	flags.StringVar(&r.reg.PreviousVersion, "previous-version", "", "the version before")
	flags.Var(strategy, "strategy", "how it was put in production")
	flags.StringVar(&r.startedAt, "started-at", "", "when it began, as 2026-11-23T04:12:00Z")
	flags.StringVar(&r.until, "until", "", "judge no further than this time (default: the end of the record)")
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.reg.Strategy = alerts.Strategy(strategy.value)
		replayed, err := r.run(cmd, args)
		if err != nil {
			return replayError(err)
		}
		if output.value == outputJSON {
			encoder := json.NewEncoder(cmd.OutOrStdout())
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", "  ")
			err = encoder.Encode(replayed)
		} else {
			err = replayed.show(cmd.OutOrStdout())
		}
		if err == nil && !replayed.Same {
			return &exitError{code: exitFailure}
		}
		return err
	}
	return cmd
}

// replayError keeps 1 for a verdict that differs.
func replayError(err error) error {
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	return &exitError{code: exitUsage, err: err}
}

// run judges again.
func (r replayCommand) run(cmd *cobra.Command, args []string) (_ *replayed, err error) {
	ctx := cmd.Context()
	config, err := loadFor(cmd)
	if err != nil {
		return nil, err
	}
	if r.dataDir == "" {
		r.dataDir = config.DataDir
	}
	history, err := r.history(ctx, args)
	if err != nil {
		return nil, err
	}
	service := config.service(history.Rollout.Service)
	if service == nil {
		return nil, usage("the configuration has no service named %q", history.Rollout.Service)
	}
	replay := verdict.Replay{
		Service: service, Gates: alerts.Gates(config.Gates, service), Config: config.Judge,
		Interval: time.Duration(config.Interval), History: history, Until: time.Now(),
	}
	until, err := parseTime("--until", r.until)
	if err != nil {
		return nil, err
	}
	if !until.IsZero() && until.Before(replay.Until) {
		replay.Until = until
	}
	begin, end := replay.Span()
	if begin.After(replay.Until) {
		return nil, usage("the rollout starts at %s, after what is to be judged", begin.UTC().Format(time.RFC3339))
	}
	window, closeWindow, err := r.window(end)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeWindow()) }()
	replay.Window = collector.NewRecall(window, history.Rollout.StartedAt.Add(-readBefore), end)
	moments, err := replay.Run(ctx)
	if err != nil {
		return nil, err
	}
	if sawNothing(moments) {
		return nil, fmt.Errorf("nothing that the gates of %s read is there from %s to %s: the window may have forgotten it (window.retention), or it has other names there",
			service.Name, begin.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
	}
	return newReplayed(history, moments, replay.Interval), nil
}

// readBefore is how long before a rollout its gates read, but for its baseline.
const readBefore = time.Hour

// history is what is on record of the rollout.
func (r replayCommand) history(ctx context.Context, args []string) (verdict.History, error) {
	given := 0
	for _, is := range []bool{len(args) > 0, r.file != "", r.reg.Service != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return verdict.History{}, usage("rollwatch replay wants one of ROLLOUT, --file, or --service with --version and --started-at")
	}
	switch {
	case len(args) > 0:
		return verdict.ReadHistory(ctx, filepath.Join(r.dataDir, "ledger.db"), args[0])
	case r.file != "":
		return readRollout(r.file)
	}
	started, err := parseTime("--started-at", r.startedAt)
	if err != nil {
		return verdict.History{}, err
	}
	if r.reg.Version == "" || started.IsZero() {
		return verdict.History{}, usage("--service wants --version and --started-at besides")
	}
	r.reg.StartedAt = started
	return verdict.History{Rollout: verdict.Rollout{ID: "(not on record)", Registration: r.reg, RegisteredAt: started}}, nil
}

// longestMemory is how far from its rollout a baseline is measured at most: a week
// back and the hours around it. Years would be read minute by minute.
const longestMemory = 9 * 24 * time.Hour

// maxRollout is how large the file of a rollout may be, in bytes.
const maxRollout = 8 << 20

// readRollout reads what `rollwatch rollout show` has printed.
func readRollout(path string) (verdict.History, error) {
	text, err := readAtMost(path, maxRollout)
	if err != nil {
		return verdict.History{}, fmt.Errorf("--file: %w", err)
	}
	var rollout verdict.Rollout
	if err := json.Unmarshal(text, &rollout); err != nil {
		return verdict.History{}, usage("--file: %s is not a rollout as `rollwatch rollout show` prints it: %v", path, err)
	}
	if rollout.Service == "" || rollout.StartedAt.IsZero() {
		return verdict.History{}, usage("--file: %s names no service or no started_at", path)
	}
	for _, span := range rollout.Baseline.Spans {
		if span.From.Before(rollout.StartedAt.Add(-longestMemory)) || span.To.After(rollout.StartedAt.Add(longestMemory)) {
			return verdict.History{}, usage("--file: %s: a span of the baseline (%s to %s) is more than nine days from the rollout", path,
				span.From.Format(time.RFC3339), span.To.Format(time.RFC3339))
		}
	}
	rollout.Kind = cmp.Or(rollout.Kind, verdict.Deploy)
	history := verdict.History{Rollout: rollout}
	if rollout.Override != nil {
		history.Overrides = []verdict.Override{*rollout.Override}
	}
	return history, nil
}

// remote opens the past of a Prometheus. A password is never on a command line: every
// process of the machine could read it there.
func (r replayCommand) remote() (*collector.Remote, error) {
	if r.prometheusFile == "" {
		if address, err := url.Parse(r.prometheus); err == nil && address.User != nil {
			return nil, usage("--prometheus.url: it holds a password; write the address in a file, and name that in --prometheus.url-file")
		}
		remote, err := collector.NewRemote(r.prometheus)
		if err != nil {
			return nil, usage("--prometheus.url: %w", err)
		}
		return remote, nil
	}
	address, err := probe.ReadSecretFile(r.prometheusFile)
	if err != nil {
		return nil, usage("--prometheus.url-file: %w", err)
	}
	remote, err := collector.NewRemote(address.Reveal())
	if err != nil {
		return nil, usage("--prometheus.url-file: %w", err)
	}
	return remote, nil
}

// window opens the past.
func (r replayCommand) window(end time.Time) (collector.Window, func() error, error) {
	if r.prometheus != "" || r.prometheusFile != "" {
		remote, err := r.remote()
		if err != nil {
			return nil, nil, err
		}
		return remote, func() error { remote.Close(); return nil }, nil
	}
	past, err := collector.OpenPast(r.dataDir, end, zap.NewNop())
	if err != nil {
		return nil, nil, err
	}
	return past, past.Close, nil
}

// sawNothing says whether no gate had anything to go by at any time. A gate that is
// warming up before it counted anything only knows what time it is.
func sawNothing(moments []verdict.Moment) bool {
	for _, m := range moments {
		for _, f := range m.Now.Findings {
			if !f.State.Missing() && (f.State != alerts.WarmingUp || f.N > 0) {
				return false
			}
		}
	}
	return true
}
