package postgres

import (
	"cmp"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

var (
	violations = &probe.Metric{
		Name: "pg_invariant_violations", Type: probe.Gauge, Labels: []string{"invariant"},
		Help:   "How many violations of the invariant its query found: its rows, or the number that its one row holds; 1,000 stands for that and more rows.",
		Source: "the query of the configuration",
	}
	lastChecked = &probe.Metric{
		Name: "pg_invariant_last_run_timestamp_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"invariant"},
		Help:   "When the invariant's query was run last and answered, in Unix time.",
		Source: "the query of the configuration",
	}
	integrityMetrics = []*probe.Metric{violations, lastChecked}
)

// mostViolations bounds what is read of an answer.
const mostViolations = 1000

// view runs the query as part of a survey: read-only, and with the limits of
// our other statements.
func (i Invariant) view() view {
	query := strings.TrimRight(strings.TrimSpace(i.Query), "; \n\t")
	return view{
		name: "invariant_" + i.Name,
		// The columns are whoever's wrote the query.
		sql: func(here) string { return "WITH q AS (\n" + query + "\n) TABLE q LIMIT " + number(mostViolations) },
		take: func(c *cycle, r *rows) error {
			c.add(violations.Sample(countViolations(r), i.Name), lastChecked.Sample(float64(time.Now().UnixMilli())/1000, i.Name))
			return nil
		},
	}
}

func (i Invariant) every() time.Duration {
	return cmp.Or(time.Duration(i.Interval), time.Minute)
}

// countViolations counts rows; one row of one number says the number itself. A
// row may hold anything, so that only such a one is taken apart.
func countViolations(r *rows) float64 {
	if len(r.all) != 1 {
		return float64(len(r.all))
	}
	if r.Next() && len(r.current) == 1 {
		if n, err := float(r.current[0]); err == nil && n >= 0 && r.current[0][0] != '"' {
			return n
		}
	}
	r.err = nil
	return 1
}
