package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/alerts"
)

func newRulesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Print the Prometheus rule file that the gates of the configuration amount to",
		Example: `  rollwatch rules --config.file=rollwatch.yml > rollback.rules.yml
  promtool check rules rollback.rules.yml`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadFor(cmd)
			if err != nil {
				return err
			}
			text, err := alerts.Rules(config.Services, config.Gates, time.Duration(config.Interval))
			if err != nil {
				return fmt.Errorf("render the rules: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	addConfigFlag(cmd)
	return cmd
}
