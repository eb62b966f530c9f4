package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/verdict"
)

// The exit codes of `rollwatch verdict`, besides 0 and exitUsage.
const (
	exitRollback   = 1
	exitHold       = 3
	exitNoVerdict  = 4 // unreachable, stale, interrupted or not told: whatever is no verdict
	exitSuperseded = 5
)

func newVerdictCommand() *cobra.Command {
	var w watcher
	var until string
	cmd := &cobra.Command{
		Use:   "verdict SERVICE|ROLLOUT",
		Short: "Ask for the verdict on a rollout, or wait for it",
		Long: `Asks for the verdict on a rollout, or on the newest rollout of a service.

Exit codes:
  0  promote; continue too, without --wait. A dry run exits as for promote.
  1  roll back
  2  wrong arguments, or no such service or rollout
  3  hold: at once without --wait, else at the deadline or when it is final
  4  rollwatch cannot be reached, has no judgement that is fresh enough, or the
     asking was interrupted or its answer could not be written
  5  a newer rollout of the service took over

In GitHub Actions the verdict is also written to the step's outputs (verdict,
rollout, final, ok, dry_run, phase, progress) and to the job's summary.`,
		Example: `  rollwatch verdict api
  rollwatch verdict api --wait --timeout=20m && ./promote.sh
  rollwatch verdict r-20261123-0412-api --wait --until=phase:0-5m
  rollwatch verdict api -o json | jq .reasons`,
		Args:              wants("SERVICE or ROLLOUT"),
		ValidArgsFunction: completeServices,
	}
	output := addOutputFlag(cmd)
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&w.wait, "wait", false, "wait until the verdict is what --until says, or final")
	cmd.Flags().StringVar(&until, "until", "promote", "with --wait: promote, advance (it may go on), or phase:NAME (that phase is over), as phase:0-5m")
	cmd.Flags().DurationVar(&w.timeout, "timeout", 20*time.Minute, "with --wait: how long at most")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if w.reached, err = parseUntil(until); err != nil {
			return err
		}
		if w.timeout <= 0 {
			return usage("--timeout must be positive")
		}
		if w.client, err = newClient(cmd); err != nil {
			return err
		}
		w.name, w.progress = args[0], cmd.ErrOrStderr()
		answer, code, err := w.watch(cmd.Context())
		if answer != nil {
			shown := showVerdict(cmd.OutOrStdout(), answer, output.value)
			if shown != nil && code == 0 {
				code = exitNoVerdict // nobody has heard that it may go on
			}
			err = errors.Join(err, shown)
			if unreported := reportToGitHub(answer.document); unreported != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "rollwatch: warning:", unreported) // beside the verdict, and no part of it
			}
		}
		if code == 0 {
			return nil
		}
		return &exitError{code: code, err: err}
	}
	return cmd
}

// An answer is a verdict as it came, and as it is understood.
type answer struct {
	raw      json.RawMessage
	document verdict.Document
}

// A watcher asks for a verdict until it is what is waited for.
type watcher struct {
	client   *client
	name     string // of a service or a rollout
	wait     bool
	timeout  time.Duration
	reached  func(verdict.Document) bool
	progress io.Writer

	path    string // of the verdict, once it is known which of both the name is
	last    *answer
	toldAt  time.Time // when a line was written last
	failing bool      // the newest question that had time to be answered was not
}

const (
	// longPoll is how long the server is asked to hold an answer back. A phase
	// that ends is no change that it would answer for, so it is short.
	longPoll = 8 * time.Second

	// pace is the least time between two questions, for a server that does not wait.
	pace = time.Second

	// maxAway is how long a daemon may be away (it restarts, it is moved) before
	// waiting for it is given up.
	maxAway = 2 * time.Minute
)

// watch asks once, or until the deadline, and returns the newest answer and the
// exit code. An error says why there is no verdict.
func (w *watcher) watch(ctx context.Context) (*answer, int, error) {
	if !w.wait {
		if err := w.ask(ctx, 0); err != nil {
			return nil, codeOf(err), err
		}
		code, _ := w.judge(w.last.document)
		return w.last, code, nil
	}
	deadline, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	lastSeen := time.Now()
	for {
		began := time.Now()
		err := w.ask(deadline, longPoll)
		pause := pace - time.Since(began)
		if err == nil {
			lastSeen, w.failing = time.Now(), false
			if code, done := w.judge(w.last.document); done {
				return w.last, code, nil
			}
		} else if deadline.Err() == nil {
			retryAfter, again := unavailable(err)
			if !again || time.Since(lastSeen) > maxAway {
				return w.last, codeOf(err), err
			}
			w.failing = true
			pause = min(max(retryAfter, pace), longPoll)
		}
		if !sleep(deadline, pause) {
			return w.atDeadline(ctx, err)
		}
	}
}

// atDeadline says how waiting ended without what was waited for.
func (w *watcher) atDeadline(ctx context.Context, err error) (*answer, int, error) {
	switch {
	case ctx.Err() != nil:
		return w.last, exitNoVerdict, errors.New("interrupted")
	case w.last == nil || w.failing:
		return w.last, exitNoVerdict, fmt.Errorf("no verdict within %s: %w", w.timeout, err)
	}
	return w.last, exitHold, fmt.Errorf("not reached within %s", w.timeout)
}

// judge says with which code an answer ends the program, and whether there is
// any sense in waiting for another.
func (w *watcher) judge(d verdict.Document) (code int, done bool) {
	switch {
	case d.SupersededBy != "":
		return exitSuperseded, true
	case d.DryRun:
		return 0, true
	case d.Verdict == verdict.Rollback:
		return exitRollback, true
	case w.wait && w.reached(d), !w.wait && (d.Verdict == verdict.Promote || d.Verdict == verdict.Continue):
		return 0, true
	}
	return exitHold, d.Final || !w.wait
}

// ask asks once and keeps the answer. The first answer says whether the name
// is a service or a rollout; from then on it is that rollout that is followed.
func (w *watcher) ask(ctx context.Context, wait time.Duration) error {
	if w.path == "" {
		err := w.askAt(ctx, pathOf("api", "v1", "services", w.name, "verdict"), 0)
		if refusal, ok := errors.AsType[*refusal](err); ok && refusal.status == http.StatusNotFound {
			asService := refusal
			err = w.askAt(ctx, pathOf("api", "v1", "rollouts", w.name, "verdict"), 0)
			if isNotFound(err) && !strings.HasPrefix(w.name, "r-") { // as the ids of rollouts begin
				return asService
			}
		}
		return err
	}
	return w.askAt(ctx, w.path, wait)
}

func isNotFound(err error) bool {
	refusal, ok := errors.AsType[*refusal](err)
	return ok && refusal.status == http.StatusNotFound
}

func (w *watcher) askAt(ctx context.Context, path string, wait time.Duration) error {
	r := request{path: path, wait: wait}
	if wait > 0 {
		r.query = url.Values{"wait": {wait.String()}, "seq": {strconv.FormatInt(w.last.document.Seq, 10)}}
	}
	raw, err := w.client.do(ctx, r)
	if err != nil {
		return err
	}
	next := &answer{raw: raw}
	if err := json.Unmarshal(raw, &next.document); err != nil || next.document.Rollout == "" {
		return fmt.Errorf("%w at %s: what answers there is not rollwatch", errUnreachable, w.client.server.Redacted())
	}
	if w.wait && w.isNews(next.document) {
		w.toldAt = time.Now()
		fmt.Fprintf(w.progress, "%s  %-8s  %s\n", time.Now().Format(time.TimeOnly), next.document.Verdict, next.document.Progress)
	}
	w.last, w.path = next, pathOf("api", "v1", "rollouts", next.document.Rollout, "verdict")
	return nil
}

// isNews says whether an answer is worth a line: each other verdict, and once a
// minute how far it is.
func (w *watcher) isNews(next verdict.Document) bool {
	if w.last == nil || w.last.document.Verdict != next.Verdict || w.last.document.Seq != next.Seq {
		return true
	}
	return w.last.document.Progress != next.Progress && time.Since(w.toldAt) >= time.Minute
}

// codeOf is the exit code for an error of the client.
func codeOf(err error) int {
	if _, again := unavailable(err); again {
		return exitNoVerdict
	}
	return exitUsage
}

// sleep waits, and says whether ctx was still alive at the end.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
