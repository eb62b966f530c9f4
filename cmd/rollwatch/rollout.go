package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

func newRolloutCommand() *cobra.Command {
	cmd := group("rollout", "Tell rollwatch of rollouts, and list them",
		newRolloutStart(), newRolloutStage(), newRolloutFinish(), newRolloutOverride(), newRolloutList(), newRolloutShow(), newRolloutReport())
	addClientFlags(cmd)
	return cmd
}

func newRolloutStart() *cobra.Command {
	var reg verdict.Registration
	var started, key string
	var migrations []string
	strategy := &choice{value: string(alerts.Rolling), allowed: []string{string(alerts.Rolling), string(alerts.BlueGreen), string(alerts.Canary)}}
	kind := &choice{value: string(verdict.Deploy), allowed: []string{string(verdict.Deploy), string(verdict.KindOfRollback)}}
	cmd := &cobra.Command{
		Use:   "start --service=NAME --version=VERSION",
		Short: "Register a rollout, which is judged from now on; prints its id",
		Example: `  rollwatch rollout start --service=api --version=2.4.0 --previous-version=2.3.0 --strategy=canary
  rollwatch rollout start --service=api --version=2.4.0 --flag=checkout-v2 --migration=prisma:20261123_orders:data:undo.sql`,
		Args: wants(),
	}
	flags := cmd.Flags()
	flags.StringVar(&reg.Service, "service", "", "the service, as the configuration names it (required)")
	flags.StringVar(&reg.Version, "version", "", "the new version (required)")
	flags.StringVar(&reg.PreviousVersion, "previous-version", "", "the version before")
	flags.Var(strategy, "strategy", "how it is put in production")
	flags.Var(kind, "kind", "what it is for")
	flags.StringVar(&started, "started-at", "", "when it began, as 2026-11-23T04:12:00Z (default now)")
	flags.StringVar(&reg.Commit, "commit", "", "the commit that is deployed")
	flags.StringVar(&reg.Image, "image", "", "the image that is deployed")
	flags.StringVar(&reg.PreviousImage, "previous-image", "", "the image to go back to")
	flags.StringArrayVar(&reg.FeatureFlags, "flag", nil, "a feature flag that the version comes with (repeatable)")
	flags.StringArrayVar(&migrations, "migration", nil, "a migration, as TOOL:NAME:KIND[:REVERSE]; the kind is additive, data or breaking (repeatable)")
	flags.StringToStringVar(&reg.Labels, "label", nil, "a label, as pipeline=1842 (repeatable)")
	flags.StringVar(&key, "idempotency-key", "", "the same key registers the same rollout once (default: a new one)")
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if reg.Service == "" || reg.Version == "" {
			return usage("rollwatch rollout start wants --service and --version")
		}
		reg.Strategy, reg.Kind = alerts.Strategy(strategy.value), verdict.Kind(kind.value)
		var err error
		if reg.StartedAt, err = parseTime("--started-at", started); err != nil {
			return err
		}
		if reg.Migrations, err = parseMigrations(migrations); err != nil {
			return err
		}
		if key == "" {
			key = rand.Text() // so that the request can be sent again
		}
		return change(cmd, output.value, request{
			method: http.MethodPost, path: pathOf("api", "v1", "rollouts"),
			header: http.Header{"Idempotency-Key": {key}}, body: reg,
		})
	}
	return cmd
}

func newRolloutStage() *cobra.Command {
	var weight float64
	var note string
	cmd := &cobra.Command{
		Use:     "stage ROLLOUT",
		Short:   "Record a stage of a rollout: its share of the traffic, or a note",
		Example: `  rollwatch rollout stage r-20261123-0412-api --weight=25`,
		Args:    wants("ROLLOUT"),
	}
	cmd.Flags().Float64Var(&weight, "weight", 0, "share of the traffic in percent")
	cmd.Flags().StringVar(&note, "note", "", "what happened")
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := map[string]any{}
		if cmd.Flags().Changed("weight") {
			body["weight"] = weight
		}
		if note != "" {
			body["note"] = note
		}
		if len(body) == 0 {
			return usage("rollwatch rollout stage wants --weight or --note")
		}
		return change(cmd, output.value, request{method: http.MethodPatch, path: pathOf("api", "v1", "rollouts", args[0]), body: body})
	}
	return cmd
}

func newRolloutFinish() *cobra.Command {
	outcome := &choice{allowed: []string{string(verdict.Promoted), string(verdict.RolledBack), string(verdict.Aborted)}}
	cmd := &cobra.Command{
		Use:     "finish ROLLOUT --outcome=OUTCOME",
		Short:   "Tell that a rollout is over, and how it ended",
		Example: `  rollwatch rollout finish r-20261123-0412-api --outcome=promoted`,
		Args:    wants("ROLLOUT"),
	}
	cmd.Flags().Var(outcome, "outcome", "how it ended (required)")
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if outcome.value == "" {
			return usage("rollwatch rollout finish wants --outcome=%s", outcome.Type())
		}
		return change(cmd, output.value, request{
			method: http.MethodPost, path: pathOf("api", "v1", "rollouts", args[0], "finish"), body: map[string]string{"outcome": outcome.value},
		})
	}
	return cmd
}

func newRolloutOverride() *cobra.Command {
	word := &choice{}
	for _, w := range verdict.Words {
		word.allowed = append(word.allowed, string(w))
	}
	var reason string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "override ROLLOUT --verdict=VERDICT --reason=TEXT",
		Short: "Decide in place of the judge, on the record",
		Long: `Decides in place of the judge, for a time. Who decided is the name of the token
that is sent. After that time only evidence later than the decision counts.`,
		Example: `  rollwatch rollout override r-20261123-0412-api --verdict=continue --reason="load test until five" --for=45m`,
		Args:    wants("ROLLOUT"),
	}
	cmd.Flags().Var(word, "verdict", "what is decided (required)")
	cmd.Flags().StringVar(&reason, "reason", "", "why (required)")
	cmd.Flags().DurationVar(&validity, "for", time.Hour, "how long it holds")
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if word.value == "" || reason == "" {
			return usage("rollwatch rollout override wants --verdict and --reason")
		}
		return change(cmd, output.value, request{
			method: http.MethodPost, path: pathOf("api", "v1", "rollouts", args[0], "override"),
			body: map[string]any{"verdict": word.value, "reason": reason, "until": time.Now().Add(validity).UTC()},
		})
	}
	return cmd
}

func newRolloutList() *cobra.Command {
	var service string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List rollouts, newest first",
		Args:  wants(),
	}
	cmd.Flags().StringVar(&service, "service", "", "of this service only")
	cmd.Flags().IntVar(&limit, "limit", 20, "how many at most, up to 500")
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := newClient(cmd)
		if err != nil {
			return err
		}
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		if service != "" {
			query.Set("service", service)
		}
		r := request{path: pathOf("api", "v1", "rollouts"), query: query}
		if output.value == outputJSON {
			text, err := client.do(cmd.Context(), r)
			if err != nil {
				return clientError(err)
			}
			return printJSON(cmd.OutOrStdout(), text)
		}
		page, err := ask[rolloutPage](cmd.Context(), client, r)
		if err != nil {
			return clientError(err)
		}
		return listRollouts(cmd.OutOrStdout(), page.Rollouts)
	}
	return cmd
}

// rolloutPage is a page of the list.
type rolloutPage struct {
	Rollouts []verdict.Rollout `json:"rollouts"`
}

func listRollouts(w io.Writer, rollouts []verdict.Rollout) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ROLLOUT\tSERVICE\tVERSION\tSTRATEGY\tSTARTED\tVERDICT\tOUTCOME")
	for _, r := range rollouts {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Service, r.Version, r.Strategy,
			r.StartedAt.Format("2006-01-02 15:04"), describeState(r), r.Outcome)
	}
	return table.Flush()
}

func describeState(r verdict.Rollout) string {
	switch {
	case r.SupersededBy != "":
		return "superseded"
	case r.Verdict == "":
		return "-"
	case r.Final:
		return string(r.Verdict) + ", final"
	}
	return string(r.Verdict)
}

func newRolloutShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ROLLOUT",
		Short: "Print all that is recorded of a rollout, as JSON",
		Args:  wants("ROLLOUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return change(cmd, outputJSON, request{path: pathOf("api", "v1", "rollouts", args[0])})
		},
	}
}

// change sends a request that answers with a rollout, and prints its id or all of it.
func change(cmd *cobra.Command, form string, r request) error {
	client, err := newClient(cmd)
	if err != nil {
		return err
	}
	if form == outputJSON {
		text, err := client.do(cmd.Context(), r)
		if err != nil {
			return clientError(err)
		}
		return printJSON(cmd.OutOrStdout(), text)
	}
	rollout, err := ask[verdict.Rollout](cmd.Context(), client, r)
	if err != nil {
		return clientError(err)
	}
	for _, note := range rollout.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", oneLine(note))
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), rollout.ID)
	return err
}

// clientError gives an error of the client its exit code and, for the refusal
// that most people meet first, a cure.
func clientError(err error) error {
	if refusal, ok := errors.AsType[*refusal](err); ok && refusal.status == http.StatusUnauthorized {
		err = fmt.Errorf("%w; give a token with --%s or $%s", err, tokenFileFlag, tokenFileEnv)
	}
	return &exitError{code: codeOf(err), err: err}
}

func parseTime(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, usage("%s: %q is not a time; write it as 2026-11-23T04:12:00Z", flag, text)
	}
	if t.IsZero() { // which stands for a time that is not told
		return t, usage("%s: %q is the first moment of the year 1; say when it was, or leave it out", flag, text)
	}
	return t, nil
}

// parseMigrations reads TOOL:NAME:KIND[:REVERSE].
func parseMigrations(texts []string) ([]verdict.Migration, error) {
	var out []verdict.Migration
	for _, text := range texts {
		parts := strings.SplitN(text, ":", 4)
		if len(parts) < 3 {
			return nil, usage("--migration: %q is not TOOL:NAME:KIND[:REVERSE], as prisma:20261123_orders:additive", text)
		}
		m := verdict.Migration{Tool: parts[0], Name: parts[1], Kind: parts[2]}
		if len(parts) == 4 {
			m.Reverse = parts[3]
		}
		out = append(out, m)
	}
	return out, nil
}
