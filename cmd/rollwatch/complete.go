package main

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// completionTimeout is how long somebody who pressed the tab key will wait.
const completionTimeout = time.Second

// completeServices completes the names of services that had rollouts lately.
func completeServices(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	client, err := newClient(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completionTimeout)
	defer cancel()
	page, err := ask[rolloutPage](ctx, client, request{path: pathOf("api", "v1", "rollouts"), query: url.Values{"limit": {"200"}}})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, r := range page.Rollouts {
		names = append(names, r.Service)
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}
