package alerts

import "time"

// errorRatio finds a service that answers too many requests with an error.
var errorRatio = Gate{
	Name:     "error_ratio",
	Help:     "in each span of the window too many requests were answered with a 5xx, and in all too many to be the baseline's luck",
	Summary:  "Too many requests are answered with an error.",
	From:     fromCounts,
	Mode:     Enforce,
	Limit:    0.01,
	MaxLimit: 1,
	Unit:     "ratio",
	For:      5 * time.Minute,
	Required: true,
	Applies:  hasMetrics,
	Count:    countErrors,
}

// countErrors counts the requests that were answered with an error.
func countErrors(_ Gate, counts Counts, scene Scene) Signal {
	baseline := scene.Subject.Baseline
	return Signal{
		Of:      func(t Tally) (n, bad float64) { return max(t.Requests, t.Errors), t.Errors },
		Frozen:  Ratio{N: baseline.Requests, Bad: baseline.Errors},
		Noun:    "5xx",
		Missing: counts.Why,
	}
}
