package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/alerts"
)

// The flag and the variable that name the configuration file.
const (
	configFlag = "config.file"
	configEnv  = "ROLLWATCH_CONFIG_FILE"
)

// addConfigFlag gives a command the flag that loaderOf reads.
func addConfigFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().String(configFlag, "", "configuration file (default $"+configEnv+"; without any, the environment alone)")
}

// loaderOf is the loader of the configuration that the command's flags name.
func loaderOf(cmd *cobra.Command) configLoader {
	file, _ := cmd.Flags().GetString(configFlag)
	return configLoader{file: cmp.Or(file, os.Getenv(configEnv)), lookup: os.LookupEnv}
}

// loadFor loads the configuration for a command; a bad one is a usage error.
func loadFor(cmd *cobra.Command) (*Config, error) {
	config, err := loaderOf(cmd).load()
	if err != nil {
		return nil, refusedConfig(err)
	}
	return config, nil
}

// refusedConfig is the error of a configuration that cannot be used.
func refusedConfig(err error) error {
	if faulty, ok := errors.AsType[*faultyError](err); ok {
		return usage("the configuration has faults:\n%w", faulty)
	}
	return usage("%w", err)
}

func newConfigCommand() *cobra.Command {
	cmd := group("config", "Check, print and describe the configuration", newConfigCheck(), newConfigPrint(), newConfigSchema(), newConfigGrants())
	addConfigFlag(cmd)
	return cmd
}

func newConfigCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Name every fault of the configuration; exit code 2 if there is one",
		Long: `Names every fault of the configuration with its line, column and cure, and what
is left out or not read. The files of secrets and tokens that it names are read
too: what is refused here, rollwatch serve refuses. Nothing is dialled:
rollwatch check does that. For every service it says how many false rollbacks a
year its statistical gates may cost at worst, and whether nothing could compare a
canary of it with the old version.`,
		Example: `  rollwatch config check --config.file=rollwatch.yml --deploys-per-day=5`,
		Args:    wants(),
	}
	deploys := cmd.Flags().Float64("deploys-per-day", defaultDeploys, "deploys of each service a day, for the budget of false alarms")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !(*deploys >= 0) || math.IsInf(*deploys, 1) {
			return usage("--deploys-per-day is %g; use a number of deploys, 0 or more", *deploys)
		}
		config, err := loaderOf(cmd).loadWithFiles()
		if err != nil {
			return refusedConfig(err)
		}
		out := cmd.OutOrStdout()
		for _, notice := range config.Notices {
			fmt.Fprintln(out, "warning:", notice)
		}
		for _, s := range config.Services {
			fmt.Fprintf(out, "false alarms of %s: %s\n", s.Name, budgetOf(alerts.Gates(config.Gates, s), *deploys))
			if why := s.Incomparable(); why != "" {
				fmt.Fprintf(out, "canaries of %s: %s\n", s.Name, why)
			}
		}
		_, err = fmt.Fprintf(out, "ok: %s, %s\n",
			plural(len(config.Targets)+len(config.serviceTargets()), "target"), plural(len(config.Services), "service"))
		return err
	}
	return cmd
}

// defaultDeploys is how often a service is deployed a day, where nobody says.
const defaultDeploys = 20

// budgetOf says how many rollouts of healthy versions the gates may roll back in
// a year, at worst: each statistical gate is wrong once in 1/alpha watches at most.
func budgetOf(gates []alerts.Gate, deploys float64) string {
	var names []string
	alpha := 0.0
	for _, g := range gates {
		if g.Alpha() > 0 && g.Mode == alerts.Enforce {
			names = append(names, g.Name)
			alpha += g.Alpha()
		}
	}
	if len(names) == 0 {
		return "no statistical gate rolls back"
	}
	return fmt.Sprintf("%g deploys a day x %.2g (%s) = %.2g false statistical rollbacks a year at worst",
		deploys, alpha, strings.Join(names, ", "), 365*deploys*alpha)
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func newConfigPrint() *cobra.Command {
	return &cobra.Command{
		Use:   "print",
		Short: "Print the configuration with every default filled in and secrets masked",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadFor(cmd)
			if err != nil {
				return err
			}
			return config.print(cmd.OutOrStdout())
		},
	}
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration file, for editors",
		Example: `  rollwatch config schema > rollwatch.schema.json
  # then, as the first line of rollwatch.yml:
  # yaml-language-server: $schema=rollwatch.schema.json`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(append(schemaJSON(), '\n'))
			return err
		},
	}
}
