package alerts

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// latencyP99 finds a service whose 99th percentile is a multiple of what it
// was. It asks how many requests are slower than a bucket edge, which is exact,
// rather than for the percentile, which buckets only guess.
var latencyP99 = Gate{
	Name:     "latency_p99",
	Help:     "in each span of the window more than 1 % of the requests are slower than the first bucket edge at or above factor x the baseline's p99, and in all too many to be luck",
	Summary:  "Requests are far slower than before the rollout.",
	From:     fromBuckets,
	Mode:     Enforce,
	Limit:    0.01,
	Unit:     "ratio",
	Factor:   3,
	For:      5 * time.Minute,
	Required: true,
	Applies:  hasLatency,
	Count:    countSlow,

	ProvesLimit: true,
}

// coarse is how far the edge may lie above what was wanted before the gate
// says that the buckets do not resolve it.
const coarse = 2

// countSlow counts the requests slower than the baseline's edge.
func countSlow(_ Gate, counts Counts, scene Scene) Signal {
	baseline := &scene.Subject.Baseline
	signal := Signal{Noun: "slow requests", Resolution: baseline.Unresolved}
	// The new version may have other buckets: the next edge above errs towards
	// the version.
	i := sort.SearchFloat64s(counts.Edges, baseline.Edge)
	switch {
	case baseline.P99 == 0:
		signal.Missing, signal.Optional = "no latency is known from before the rollout to compare with", true
		return signal
	case baseline.Edge == 0:
		signal.Missing, signal.Optional = baseline.Unresolved, true
		return signal
	case counts.Why != "":
		signal.Missing = counts.Why
		return signal
	case len(counts.Edges) == 0 && counts.everSeen(scene.Now):
		signal.Missing = "the requests are counted, but no bucket tells how long they took"
		return signal
	case len(counts.Edges) > 0 && i == len(counts.Edges):
		signal.Missing = fmt.Sprintf("the version has no bucket edge at or above %s, which the baseline had", seconds(baseline.Edge))
		return signal
	}
	signal.Noun = "requests slower than " + seconds(baseline.Edge)
	if i < len(counts.Edges) {
		signal.Noun = "requests slower than " + seconds(counts.Edges[i])
	}
	signal.Frozen = baseline.slow()
	signal.Of = func(t Tally) (n, bad float64) {
		if i >= len(t.Slower) {
			return t.Timed, 0
		}
		return t.Timed, t.Slower[i]
	}
	return signal
}

// resolve finds the p99 of what was counted before the rollout and the edge
// that a p99 of factor times as much would cross; millis is the unit of the
// service's own edges.
func (b *Baseline) resolve(factor float64, millis bool) {
	if b.P99 = b.quantile(0.99); b.P99 == 0 || factor == 0 {
		return
	}
	wanted := factor * b.P99
	i := sort.SearchFloat64s(b.Edges, wanted)
	switch {
	case i == len(b.Edges):
		b.Unresolved = fmt.Sprintf("the buckets end at %s, below %g x p99 (%s) = %s: add an edge near it",
			seconds(b.Edges[i-1]), factor, seconds(b.P99), seconds(wanted))
		return
	case b.Edges[i] > coarse*wanted:
		b.Unresolved = fmt.Sprintf("the first bucket edge above %g x p99 (%s) is %s, %.1f x p99: add an edge near %s",
			factor, seconds(b.P99), seconds(b.Edges[i]), b.Edges[i]/b.P99, seconds(wanted))
	}
	b.Edge, b.LE = b.Edges[i], edgeLabel(b.Edges[i])
	if millis {
		b.LE = edgeLabel(1000 * b.Edges[i])
	}
}

// edgeLabel writes a bucket edge as Prometheus does in the label le.
func edgeLabel(edge float64) string {
	text := strconv.FormatFloat(edge, 'g', 15, 64) // 15 digits: milliseconds were divided by 1000
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// quantile interpolates within the bucket, as PromQL's histogram_quantile
// does; 0 when nothing was timed.
func (b *Baseline) quantile(q float64) float64 {
	total := b.Timed
	if total == 0 || len(b.Edges) == 0 {
		return 0
	}
	rank := q * total
	i := sort.Search(len(b.Buckets), func(i int) bool { return b.Buckets[i] >= rank })
	if i == len(b.Buckets) {
		return b.Edges[i-1]
	}
	low, below := 0.0, 0.0
	if i > 0 {
		low, below = b.Edges[i-1], b.Buckets[i-1]
	}
	if b.Buckets[i] == below {
		return low
	}
	return low + (b.Edges[i]-low)*(rank-below)/(b.Buckets[i]-below)
}

// slow are the requests that took longer than the edge.
func (b *Baseline) slow() Ratio {
	i := sort.SearchFloat64s(b.Edges, b.Edge)
	if i == len(b.Buckets) {
		return Ratio{N: b.Timed}
	}
	return Ratio{N: b.Timed, Bad: b.Timed - b.Buckets[i]}
}

// seconds writes a duration as people do.
func seconds(s float64) string {
	d := time.Duration(math.Round(s * float64(time.Second)))
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// short writes a window as configurations do: 5m, not 5m0s.
func short(d time.Duration) string { return model.Duration(d).String() }
