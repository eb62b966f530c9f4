package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/probes/probe"
)

func newConfigGrants() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "grants",
		Short: "Print the least privileges that what is configured needs",
		Long: `Prints the least privileges with which no reading is lost: SQL for each
PostgreSQL, and an ACL for each Redis. With less, what is refused is named in the
log and exported as denied; everything else is read all the same.`,
		Example: `  rollwatch config grants --config.file=rollwatch.yml`,
		Args:    wants(),
	}
	output := addOutputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		config, err := loadFor(cmd)
		if err != nil {
			return err
		}
		grants := grantsOf(config)
		if output.value == outputJSON {
			encoder := json.NewEncoder(cmd.OutOrStdout())
			encoder.SetIndent("", "  ")
			return encoder.Encode(grants)
		}
		return showGrants(cmd.OutOrStdout(), grants)
	}
	return cmd
}

// A serverGrant is what one server must grant, for all that is read of it.
type serverGrant struct {
	Target string   `json:"target"` // as "postgres:main"
	SQL    []string `json:"sql,omitempty"`
	ACL    string   `json:"acl,omitempty"`
}

// grantsOf joins what the entries need of each server, in the order in which
// the servers are first needed.
func grantsOf(config *Config) []serverGrant {
	var order []string
	needed := map[string]probe.Grants{}
	for _, entry := range config.Targets {
		granter, ok := entry.Config.(probe.Granter)
		if !ok {
			continue
		}
		own := granter.Grants()
		all, known := needed[own.On]
		if !known {
			order = append(order, own.On)
		}
		all.SQL = append(all.SQL, own.SQL...)
		all.Commands = append(all.Commands, own.Commands...)
		all.Keys = append(all.Keys, own.Keys...)
		needed[own.On] = all
	}
	grants := []serverGrant{}
	for _, target := range order {
		all := needed[target]
		grants = append(grants, serverGrant{Target: target, SQL: all.SQL, ACL: acl(all)})
	}
	return grants
}

// acl is the command that makes the user; "" where nothing is asked of Redis.
// %R~ grants to read only, which Redis can say since version 7.
func acl(g probe.Grants) string {
	if len(g.Commands) == 0 {
		return ""
	}
	rules := []string{"ACL SETUSER rollwatch on '>change me' resetkeys -@all"}
	for _, command := range sortedOnce(g.Commands) {
		rules = append(rules, "+"+command)
	}
	for _, keys := range sortedOnce(g.Keys) {
		rules = append(rules, "'%R~"+keys+"'")
	}
	return strings.Join(rules, " ")
}

func sortedOnce(words []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(words)))
}

func showGrants(w io.Writer, grants []serverGrant) error {
	for i, g := range grants {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if g.ACL != "" {
			fmt.Fprintf(w, "# %s, by redis-cli (before Redis 7 write ~ in place of %%R~)\n%s\n", g.Target, g.ACL)
		}
		if len(g.SQL) > 0 {
			fmt.Fprintf(w, "-- %s, by psql as its administrator\n%s\n", g.Target, strings.Join(g.SQL, "\n"))
		}
	}
	return nil
}
