package simulate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// A Limit is what the judge must keep, and how it stands.
type Limit struct {
	Text string
	Held bool
	Said string // what was measured, with the cells in which it is not held
}

// healthy are the scenarios in which a rollout is as it should be.
var healthy = []string{"0", "2", "17"}

// Limits checks what the judge must keep.
func (r *Result) Limits() []Limit {
	return []Limit{
		r.limit("in each cell in which a rollback is wrong at most 0.1 % are rolled back",
			func(c *Cell) bool { return c.Scenario.null() },
			func(c *Cell) (string, bool) {
				low, high := wilson(c.Ours.RolledBack, c.Ours.Runs)
				return fmt.Sprintf("%s (%s to %s)", percent(c.Ours.share(c.Ours.RolledBack)), percent(low), percent(high)), c.Ours.share(c.Ours.RolledBack) <= 0.001
			}),
		r.limit("an incident of a shared dependency rolls nobody back, where a probe sees it or stable goes on beside the new version (4a, 4b)",
			func(c *Cell) bool { return c.Scenario.null() && c.Scenario.Cause == alerts.Dependency },
			func(c *Cell) (string, bool) {
				return percent(c.Ours.share(c.Ours.RolledBack)), c.Ours.RolledBack == 0
			}),
		r.limit("missing data hold at the end of the watch: no promotion, no rollback",
			func(c *Cell) bool { return c.Scenario.Label == Hold },
			func(c *Cell) (string, bool) {
				return fmt.Sprintf("held %s", percent(c.Ours.share(c.Ours.HeldAtEnd))), c.Ours.HeldAtEnd == c.Ours.Runs
			}),
		r.limit("at 20 requests a second and more a healthy rollout is promoted at the end of its watch in at least 95 %, and held in at most 1 %",
			func(c *Cell) bool { return slices.Contains(healthy, c.Scenario.Number) && c.RPS >= 20 },
			func(c *Cell) (string, bool) {
				promoted, held := c.Ours.share(c.Ours.Promoted), c.Ours.share(c.Ours.Held)
				return fmt.Sprintf("promoted %s, held %s", percent(promoted), percent(held)), promoted >= 0.95 && held <= 0.01
			}),
		r.limit("with 10 % of the traffic or more, and 20 requests a second or more in all, large faults are missed in at most 5 %",
			large, func(c *Cell) (string, bool) {
				missed := 1 - c.Ours.share(c.Ours.RolledBack)
				return "missed " + percent(missed), missed <= 0.05
			}),
		r.limit("the median time to find the tenfold step is under 2 minutes at 200 requests a second, and under 9 at 20",
			func(c *Cell) bool { return c.Scenario.Number == "8d" && c.RPS >= 20 && compares(c) },
			func(c *Cell) (string, bool) {
				most := map[bool]time.Duration{true: 2 * time.Minute, false: 9 * time.Minute}[c.RPS >= 200]
				median := quantile(c.Ours.Delays, 0.5)
				return median.String(), median > 0 && median < most
			}),
	}
}

// compares says whether a canary has enough of the traffic to be compared.
func compares(c *Cell) bool {
	return c.Rollout.Strategy == alerts.Canary && c.Rollout.Share >= 0.1
}

// large are the faults that must be found.
func large(c *Cell) bool {
	found := []string{"8d", "8e", "11c", "11d", "12b", "12c", "13a", "13c", "14", "15"}
	return slices.Contains(found, c.Scenario.Number) && c.RPS >= 20 && compares(c)
}

// limit checks one limit in the cells that it is about.
func (r *Result) limit(text string, about func(*Cell) bool, check func(*Cell) (string, bool)) Limit {
	l := Limit{Text: text, Held: true}
	var broken []string
	cells := 0
	for _, c := range r.Cells {
		if !about(c) || c.Ours.Runs == 0 {
			continue
		}
		cells++
		if said, ok := check(c); !ok {
			broken = append(broken, fmt.Sprintf("%s, %s, %g/s: %s", c.Scenario.Number, c.Rollout.Name, c.RPS, said))
		}
	}
	l.Held = len(broken) == 0
	l.Said = fmt.Sprintf("%d cells", cells)
	if !l.Held {
		l.Said = fmt.Sprintf("not in %d of %d cells: %s", len(broken), cells, strings.Join(broken, "; "))
	}
	return l
}
