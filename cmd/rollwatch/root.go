package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// newRootCommand composes the command line.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "rollwatch",
		Short: "Watches databases, Redis, queues and services, and judges every rollout",
		Long: `rollwatch reads the health of databases, Redis, queues and services, exports what
it reads, and answers after every rollout: continue, promote, hold or roll back,
and why. It never deploys anything by itself.`,
		SilenceUsage: true, SilenceErrors: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(
		newServeCommand(), newDemoCommand(), newCheckCommand(), newConfigCommand(),
		newRolloutCommand(), newVerdictCommand(), newGateCommand(), newRulesCommand(), newReplayCommand(),
		newSimulateCommand(), newHealthcheckCommand(), newVersionCommand(),
	)
	return root
}

func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usage("%s has no command %q; did you mean %s?", cmd.CommandPath(), name, strings.Join(near, " or "))
	}
	return usage("%s has no command %q; see %s --help", cmd.CommandPath(), name, cmd.CommandPath())
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("%s needs one of its commands; see %s --help", cmd.CommandPath(), cmd.CommandPath())
			}
			return unknownCommand(cmd, args[0])
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// wants checks how many arguments a command is given, and names them when the
// number is wrong.
func wants(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		if len(names) == 0 {
			return usage("%s takes no arguments", cmd.CommandPath())
		}
		return usage("%s wants %s; see %s --help", cmd.CommandPath(), strings.Join(names, " "), cmd.CommandPath())
	}
}

// A choice is a flag that takes one of a few words.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) String() string { return c.value }

// Type names the flag's values in the help.
func (c *choice) Type() string { return strings.Join(c.allowed, "|") }

// Set takes one of the allowed words.
func (c *choice) Set(value string) error {
	if !slices.Contains(c.allowed, value) {
		return fmt.Errorf("it is one of %s", strings.Join(c.allowed, ", "))
	}
	c.value = value
	return nil
}

// The forms of output.
const (
	outputText = "text"
	outputJSON = "json"
)

// addOutputFlag gives the command -o.
func addOutputFlag(cmd *cobra.Command) *choice {
	output := &choice{value: outputText, allowed: []string{outputText, outputJSON}}
	cmd.Flags().VarP(output, "output", "o", "form of the output")
	return output
}
