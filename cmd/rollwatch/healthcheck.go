package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// healthcheckTimeout is shorter than what container runtimes allow by default.
const healthcheckTimeout = 3 * time.Second

func newHealthcheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the daemon whether it is well, for a container without curl",
		Long: `Asks the daemon whether it is well: exit code 0 if it is, 1 if it is not or does
not answer within three seconds. Whether the targets are well is another
question, which /health answers.`,
		Example: `  HEALTHCHECK CMD ["/rollwatch", "healthcheck"]`,
		Args:    wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := newClient(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), healthcheckTimeout)
			defer cancel()
			_, err = client.do(ctx, request{path: pathOf("-", "healthy")})
			return err
		},
	}
	addClientFlags(cmd)
	return cmd
}
