package alerts

import "fmt"

// canaryErrors finds a version that answers more requests with an error than the
// old one beside it does, however few that are.
var canaryErrors = Gate{
	Name:     "canary_errors",
	Help:     "requests to the new version are answered with a 5xx more often than those to the old one beside it: over 1.5 times, beyond chance, and not by one minute alone",
	Summary:  "The new version answers with errors more often than the old one beside it.",
	From:     fromCounts,
	Mode:     Enforce,
	Unit:     "ratio",
	Required: true,
	impact:   "of the requests to the new version of %s fail, more than of those to the old one beside it",
	Applies:  comparesVersions,
	Compare: func(counts Counts) Comparison {
		return Comparison{
			Sides:   []Side{{Of: func(t Tally) (n, bad float64) { return max(t.Requests, t.Errors), t.Errors }}},
			Noun:    "5xx",
			Missing: counts.Why,
			Terms:   ofRequests,
		}
	},
	alertQL: firesQL,
	drawQL:  observedQL,
}

// slowRequests is the share of requests that may be slow: what is slower than the 99th
// percentile is no reason to roll back, however much more of it there is.
const slowRequests = 0.01

// canaryLatency finds a version that is slower than the old one beside it: at each
// edge of the buckets it counts the requests that took longer.
var canaryLatency = Gate{
	Name:    "canary_latency",
	Help:    "requests to the new version are slow more often than those to the old one beside it, over all bucket edges from 1.5 x the baseline's p99 on: over 1.5 times, beyond chance, not by one minute alone, and surely more than 1 % of them",
	Summary: "The new version is slower than the old one beside it.",
	From:    fromBuckets,
	Mode:    Enforce,
	Unit:    "ratio",
	impact:  "of the requests to the new version of %s are slow, more than of those to the old one beside it",
	Applies: comparesVersions,
	Compare: func(counts Counts) Comparison {
		c := Comparison{Material: slowRequests, Noun: "slow requests", Missing: counts.Why, Terms: ofRequests}
		for i, edge := range counts.Edges {
			c.Sides = append(c.Sides, Side{Name: "requests slower than " + seconds(edge), Beyond: edge, Of: func(t Tally) (n, bad float64) {
				if i >= len(t.Slower) {
					return t.Timed, 0
				}
				return t.Timed, t.Slower[i]
			}})
		}
		if len(c.Sides) == 0 && c.Missing == "" {
			c.Missing = "there is no histogram of durations"
		}
		return c
	},
	alertQL: firesQL,
	drawQL:  observedQL,
}

// comparesVersions says whether the service tells two versions apart that serve
// side by side.
func comparesVersions(s *Service) bool {
	tracked := len(s.Tracks[canaryTrack]) > 0 && len(s.Tracks[stableTrack]) > 0
	return hasMetrics(s) && (tracked || s.VersionLabel != "")
}

// firesQL is that the gate fires, as rollwatch says itself: PromQL knows no
// sequential test.
func firesQL(g Gate, s *Service) string {
	return observedQL(g, s) + fmt.Sprintf(" and on () (sum(rollwatch_gate_state{gate=%q,service=%q,state=\"firing\"}) > 0)", g.Name, s.Name)
}
