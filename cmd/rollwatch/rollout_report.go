package main

import (
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"
)

func newRolloutReport() *cobra.Command {
	var file, gate string
	cmd := &cobra.Command{
		Use:   "report ROLLOUT",
		Short: "Print the draft of a post-mortem, as Markdown with pictures",
		Long: `Prints the draft of a post-mortem: summary, timeline, evidence, pictures,
queries, what was missing and the advised way back. The pictures are within the
text, as far as the window still holds the time. With --gate it is the picture
of one gate by itself, as SVG.`,
		Example: `  rollwatch rollout report r-20261123-0412-api -o post-mortem.md
  rollwatch rollout report r-20261123-0412-api --gate=error_ratio -o error_ratio.svg`,
		Args: wants("ROLLOUT"),
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write to (default: standard output)")
	cmd.Flags().StringVar(&gate, "gate", "", "draw this gate alone")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := newClient(cmd)
		if err != nil {
			return err
		}
		r := request{path: pathOf("api", "v1", "rollouts", args[0], "report"), query: url.Values{}}
		if gate != "" {
			r.query.Set("format", "svg")
			r.query.Set("gate", gate)
		}
		text, err := client.do(cmd.Context(), r)
		if err != nil {
			return clientError(err)
		}
		if file == "" {
			_, err = cmd.OutOrStdout().Write(text)
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
		return nil
	}
	return cmd
}
