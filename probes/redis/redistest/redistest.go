// Package redistest helps the tests of the probes that read a Redis: to open
// one, and to find in a Reading what a test made.
package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// Links are Links to one server, whose target is named main, closed with the test.
func Links(tb testing.TB, url string) *redis.Links {
	tb.Helper()
	links := redis.NewLinks(&redis.Config{Name: "main", URL: probe.NewSecret(url)})
	tb.Cleanup(func() { require.NoError(tb, links.Close()) })
	return links
}

// As is the URL of a server for an ACL user who may run only these commands,
// and touch only these keys.
func As(tb testing.TB, server *live.RedisServer, keys string, commands ...string) string {
	tb.Helper()
	const user, password = "watcher", "secret"
	rules := []any{"acl", "setuser", user, "reset", "on", ">" + password, "-@all"}
	if keys != "" {
		rules = append(rules, keys)
	}
	for _, command := range commands {
		rules = append(rules, "+"+command)
	}
	server.Do(tb, rules...)
	return "redis://" + user + ":" + password + "@" + server.Addr
}

// Open opens the probe of a valid entry.
func Open(tb testing.TB, config probe.Config, links probe.Links) probe.Probe {
	tb.Helper()
	require.Empty(tb, config.Validate())
	p, err := config.Open(links)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, p.Close()) })
	return p
}

// Read reads once, after a discovery if the probe discovers.
func Read(tb testing.TB, p probe.Probe) probe.Reading {
	tb.Helper()
	Discover(tb, p)
	return ReadOnly(tb, p)
}

// ReadOnly reads once.
func ReadOnly(tb testing.TB, p probe.Probe) probe.Reading {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	reading, err := p.Read(ctx)
	require.NoError(tb, err)
	return reading
}

// Discover runs a discovery, if the probe discovers.
func Discover(tb testing.TB, p probe.Probe) {
	tb.Helper()
	if d, ok := p.(probe.Discoverer); ok {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(tb, d.Discover(ctx))
	}
}

// Value is the value of the one series of a family that has these labels, as
// many as are given.
func Value(tb testing.TB, r probe.Reading, name string, labels ...string) float64 {
	tb.Helper()
	var found []probe.Sample
	for _, s := range r.Samples {
		if s.Metric.Name == name && hasPrefix(s.Labels, labels) {
			found = append(found, s)
		}
	}
	require.Len(tb, found, 1, "series of %s %v", name, labels)
	return found[0].Value
}

// By is the values of a family that have these first labels, by the next label.
func By(r probe.Reading, name string, labels ...string) map[string]int {
	values := map[string]int{}
	for _, s := range r.Samples {
		if s.Metric.Name == name && len(s.Labels) > len(labels) && hasPrefix(s.Labels, labels) {
			values[s.Labels[len(labels)]] = int(s.Value)
		}
	}
	return values
}

func hasPrefix(all, first []string) bool {
	for i, label := range first {
		if i >= len(all) || all[i] != label {
			return false
		}
	}
	return true
}

// Names are the families that a Reading has.
func Names(r probe.Reading) map[string]bool {
	names := map[string]bool{}
	for _, s := range r.Samples {
		names[s.Metric.Name] = true
	}
	return names
}

// States are how the parts of a Reading went.
func States(r probe.Reading) map[string]probe.ViewState {
	states := map[string]probe.ViewState{}
	for _, v := range r.Views {
		states[v.Name] = v.State
	}
	return states
}

// Processed is how many commands and connections the server has taken, those
// that ask for it included.
func Processed(tb testing.TB, server *live.RedisServer) (commands, connections int) {
	tb.Helper()
	info := redis.ParseInfo(fmt.Sprint(server.Do(tb, "info", "stats")))
	commands, err := strconv.Atoi(info["total_commands_processed"])
	require.NoError(tb, err)
	connections, err = strconv.Atoi(info["total_connections_received"])
	require.NoError(tb, err)
	return commands, connections
}

// Calls is how often each command was called since the server started, or since
// its CONFIG RESETSTAT: by its name in lower case, as "client|list".
func Calls(tb testing.TB, server *live.RedisServer) map[string]int {
	tb.Helper()
	calls := map[string]int{}
	info := redis.ParseInfo(fmt.Sprint(server.Do(tb, "info", "commandstats")))
	for field := range info {
		if command, ok := strings.CutPrefix(field, "cmdstat_"); ok {
			n, err := strconv.Atoi(info.Fields(field)["calls"])
			require.NoError(tb, err)
			calls[command] = n
		}
	}
	return calls
}
