package alerts

import "time"

// outage finds a service that answers hardly anything any more: nobody need
// wait five minutes for that. It is not required, since what it sees
// error_ratio sees as well.
var outage = Gate{
	Name:     "outage",
	Help:     "the same for most of the requests, in less time and also while the rollout warms up",
	Summary:  "Most requests are answered with an error.",
	From:     fromCounts,
	Mode:     Enforce,
	Limit:    0.5,
	MaxLimit: 1,
	Unit:     "ratio",
	For:      2 * time.Minute,
	Applies:  hasMetrics,
	Count:    countErrors,
}
