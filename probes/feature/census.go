package feature

import (
	"fmt"
	"strings"
	"time"
)

// maxNamed is how many tenants the health document names.
const maxNamed = 5

// counted is for how many tenants the feature is how.
type counted struct {
	works, suspect, broken, untried int
	oldest                          time.Duration // since the try that is longest ago
	named                           []string      // some of those for whom it is broken
	why                             string        // of the first of them
}

// census counts the tenants at now.
func census(all []*tenant, now time.Time) counted {
	var c counted
	for _, t := range all {
		switch {
		case t.tried.IsZero():
			c.untried++
			continue
		case t.failures == 0:
			c.works++
		case t.broken():
			c.broken++
			if len(c.named) < maxNamed && t.name != "" {
				c.named = append(c.named, t.name)
			}
			if c.why == "" {
				c.why = t.why
			}
		default:
			c.suspect++
		}
		c.oldest = max(c.oldest, now.Sub(t.tried))
	}
	return c
}

// ill says for whom the feature is broken; empty when for nobody.
func (c counted) ill() string {
	if c.broken == 0 {
		return ""
	}
	whom := ""
	if len(c.named) > 0 {
		whom = " for " + strings.Join(c.named, ", ")
		if more := c.broken - len(c.named); more > 0 {
			whom += fmt.Sprintf(" and %d more", more)
		}
	}
	return fmt.Sprintf("it fails%s: %s", whom, c.why)
}

func (c counted) details(all []*tenant, refused int) map[string]any {
	details := map[string]any{"tenants": len(all), "works": c.works, "suspect": c.suspect, "broken": c.broken}
	if c.untried > 0 {
		details["untried"] = c.untried
	}
	if refused > 0 {
		details["tenantsLeftOut"] = refused
	}
	if c.oldest > 0 {
		details["oldestResultSeconds"] = c.oldest.Round(time.Second).Seconds()
	}
	return details
}
