package alerts

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// reason says in one sentence why a gate on counts is in its state.
func (g Gate) reason(f Finding, signal Signal) string {
	window := "the last " + f.Window
	switch f.State {
	case NoSeries:
		if signal.Missing != "" {
			return signal.Missing
		}
		if f.Seen {
			return "the series that count requests are gone since " + clock(f.LastSeen)
		}
		return "no series counts requests since the rollout started"
	case SourceDown:
		return "every scrape of it fails since " + clock(f.Since)
	case Stale:
		return "nothing was read of it since " + clock(f.Since)
	case NoTraffic:
		return "no requests in " + window
	default:
	}
	// By judge, a gate in any other state has observed something.
	share := fmt.Sprintf("%s %s", signal.Noun, g.figure(*f.Observed))
	n := fmt.Sprintf("n=%.0f", f.N)
	switch e := f.Evidence; {
	case f.State == OK:
		return fmt.Sprintf("%s <= %s in %s (%s)", share, g.figure(g.Limit), window, n)
	case f.State == WarmingUp:
		return fmt.Sprintf("%s > %s while it warms up (%s)", share, g.figure(g.Limit), n)
	case f.State == Firing:
		return fmt.Sprintf("%s > %s for %s (%s, baseline %s)", share, g.figure(g.Limit), f.Window, n, g.figure(f.Baseline.Value))
	case e.Guard < e.Needed:
		return fmt.Sprintf("%s > %s, too few to tell from the baseline of %s (%s, evidence %.1f of %.1f)",
			share, g.figure(g.Limit), g.figure(f.Baseline.Value), n, e.Guard, e.Needed)
	case e.SpansOver == e.Spans:
		return fmt.Sprintf("%s > %s, but so few that it may be luck (%s)", share, g.figure(g.Limit), n)
	default:
		return fmt.Sprintf("%s > %s, but not for %s yet (%s, %d of %d spans)",
			share, g.figure(g.Limit), f.Window, n, e.SpansOver, e.Spans)
	}
}

// figure writes a ratio in percent and anything else as it is.
func (g Gate) figure(v float64) string {
	if g.Unit != "ratio" {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	digits := strconv.FormatFloat(100*v, 'f', 2, 64)
	return strings.TrimSuffix(strings.TrimRight(digits, "0"), ".") + "%"
}

func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly) }
