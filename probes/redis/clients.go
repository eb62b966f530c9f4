package redis

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// mostNames is how many names of clients have a series.
const mostNames = 50

var clientsByName = &probe.Metric{
	Name: "redis_clients_by_name", Type: probe.Gauge, Labels: []string{"name"},
	Help:   "Clients by the name that they gave themselves (CLIENT SETNAME), of the fifty names that most have; name is empty for those without one.",
	Source: "CLIENT LIST",
}

// clientSamples counts the clients by name.
func clientSamples(list string) []probe.Sample {
	counts := map[string]int{}
	named := 0
	for name := range ClientNames(list) {
		counts[strings.ToValidUTF8(name, "?")]++
		named++
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	samples := []probe.Sample{clientsByName.Sample(float64(max(0, strings.Count(list, "\n")-named)), "")}
	for _, name := range names[:min(len(names), mostNames)] {
		samples = append(samples, clientsByName.Sample(float64(counts[name]), name))
	}
	return samples
}

// ClientNames are the names of the connections in an answer to CLIENT LIST.
// Redis takes no name that holds a space.
func ClientNames(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(list) {
			_, rest, ok := strings.Cut(line, " name=")
			if !ok {
				continue
			}
			name, _, _ := strings.Cut(rest, " ")
			if name = strings.TrimRight(name, "\r\n"); name != "" && !yield(name) {
				return
			}
		}
	}
}
