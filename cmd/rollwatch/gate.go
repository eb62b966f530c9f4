package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/alerts"
)

func newGateCommand() *cobra.Command {
	cmd := group("gate", "Explain and test the gates that judge rollouts", newGateList(), newGateTest())
	addConfigFlag(cmd)
	return cmd
}

func newGateList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [SERVICE]",
		Short: "Explain every gate in force for a service, or for all",
		Long: `Explains every gate in force: when it fires, what that means (observe: it is
shown, hold: the rollout waits, enforce: it is rolled back), and whether its
missing keeps a rollout from being promoted.`,
		Example: `  rollwatch gate list api --config.file=rollwatch.yml`,
		Args:    cobra.MaximumNArgs(1),
	}
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		config, err := loadFor(cmd)
		if err != nil {
			return err
		}
		services := config.Services
		if len(args) == 1 {
			service := config.service(args[0])
			if service == nil {
				return usage("the configuration has no service named %q", args[0])
			}
			services = []*alerts.Service{service}
		}
		rows := gateRows(config.Gates, services)
		if output.value == outputJSON {
			encoder := json.NewEncoder(cmd.OutOrStdout())
			encoder.SetIndent("", "  ")
			return encoder.Encode(rows)
		}
		return showGates(cmd.OutOrStdout(), rows)
	}
	return cmd
}

// A gateRow is one gate in force for one service.
type gateRow struct {
	Service   string      `json:"service"`
	Gate      string      `json:"gate"`
	Mode      alerts.Mode `json:"mode"`
	Limit     float64     `json:"limit"`
	Factor    float64     `json:"factor,omitempty"`
	Direction string      `json:"direction,omitempty"` // of a custom gate: above or below the limit
	Unit      string      `json:"unit,omitempty"`
	For       string      `json:"for,omitempty"`
	From      string      `json:"from"`
	Required  bool        `json:"required"`
	InGrace   bool        `json:"inGrace"`
	Help      string      `json:"help"`
}

func gateRows(config alerts.Config, services []*alerts.Service) []gateRow {
	rows := []gateRow{}
	for _, s := range services {
		for _, g := range alerts.Gates(config, s) {
			row := gateRow{
				Service: s.Name, Gate: g.Name, Mode: g.Mode, Limit: g.Limit, Factor: g.Factor, Unit: g.Unit,
				From: g.From, Required: g.Required, InGrace: g.InGrace, Help: g.Help,
			}
			if g.Custom != nil {
				row.Direction = "above"
				if g.Custom.Below != nil {
					row.Direction = "below"
				}
			}
			if g.For > 0 {
				row.For = model.Duration(g.For).String()
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func showGates(w io.Writer, rows []gateRow) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SERVICE\tGATE\tMODE\tLIMIT\tFOR\tREQUIRED\tFIRES WHEN")
	for _, r := range rows {
		required := "no"
		if r.Required {
			required = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Service, r.Gate, r.Mode, r.limit(), r.For, required, r.Help)
	}
	return table.Flush()
}

// limit says what the observed value is held against.
func (r gateRow) limit() string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	switch {
	case r.Factor > 0:
		return number(r.Factor) + " x baseline"
	case r.Limit == 0 && r.Direction == "":
		return "-"
	}
	return oneLine(r.Direction + " " + number(r.Limit) + " " + r.Unit)
}
