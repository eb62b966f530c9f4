package simulate

import (
	"fmt"
	"strings"
	"time"
)

// Pages are the files that tell a result, by name: the page, its pictures and the
// table of everything.
func (r *Result) Pages(different []string, endToEnd int) map[string]string {
	pages := map[string]string{"verdict-quality.md": r.page(different, endToEnd), "verdict-quality.tsv": r.table()}
	for _, rps := range Traffics {
		if curves := r.curvesAt(rps); len(curves) > 0 {
			pages[fmt.Sprintf("verdict-quality-%g.svg", rps)] = picture(fmt.Sprintf("canary 10 %%, %g requests a second", rps), curves)
		}
	}
	return pages
}

const pageHead = `# How good the verdicts are

<!-- Made by rollwatch simulate. Do not edit; change internal/simulate and run make simulate. -->

Labelled rollouts are played on simulated time, a scrape each 15 s, and judged: by the real gates and the real verdict of
rollwatch, and by models of what other tools do with the same samples. All rows are here, also those that we lose; everything by
cell and judge is in [verdict-quality.tsv](verdict-quality.tsv).

**The world.** A service with 0.2 % errors and a p99 of 202 ms (log-normal durations, the default buckets of prom-client). Requests
are Poisson numbers, of each bucket and of the errors by themselves; 0.3 % of the scrapes of an arm are missed anyway. Canaries have 3
instances beside the stable ones, rolling rollouts and blue-greens 6; a rolling one replaces an instance each 50 s. Faults begin 2
minutes after the start where nothing else is said, and up to 15 s later: between two scrapes. After a promotion the new version has all of the traffic, and is watched on to
two hours from the start. Workers that tell their version (0w, 13b, 13c) do as many jobs as there are requests, in batches: the variance
in a tick is three times the mean; 0.5 %% of them fail. Where tenants are told (5b, 14b) there are 40.

**What is measured.** *False*: share of the rollouts that were rolled back where that is wrong, with the 95 %% interval of Wilson. *Found*:
where it is right, with the median and the 90th percentile of the time from the onset. *Promoted*, *held*: the verdict at the end of
the watch. *Spoiled*: requests to the new version that the fault spoiled within the watch before it was rolled back, on average.
*Blamed*: what else than the version firing evidence was attributed to, rightly / wrongly. *Changes*: of the verdict, on average.

**Fairness.** The others are given the true p99 of the service, which favours them, and no grace; they judge the watch alone, while
ours judges on after a promotion. Incidents that both versions share favour judges that compare (Kayenta, and ours). Kayenta's
documentation asks for 50 points and more; a canary of 15 minutes has 15. The models are of the documented behaviour: counts of
failures that nothing takes back, missing data that fail or err. Nobody outside has reviewed them.

**Short cuts.** Counts are fed to the gates directly; series of routes and of tenants are shown to who reads them. A
tick is judged where a gate on requests fires, or something that is required was not seen for too long; a rollout that is held for more
than 3 minutes, or after its watch, five times in the length of its watch and whenever what fires sees something new (at each tick where
there are few runs and the watch is short). Tests show that this changes no outcome but one: a rollout that was held at the end of its
watch is promoted up to a fifth of a watch later than in service.
`

func (r *Result) page(different []string, endToEnd int) string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(pageHead, "%%", "%"))
	fmt.Fprintf(&b, "\nThese are the %s seeds: %d runs of each cell in which a rollback is wrong, %d of each other, %d of those that probes tell, which are judged whole; "+
		"and a hundredth of the runs where tenants are told, whose series are read each minute.\n",
		r.Options.Seeds, r.Options.Nulls, r.Options.Others, r.Options.Probed)
	b.WriteString("\n## Limits\n\n| limit | held | measured |\n|---|---|---|\n")
	for _, l := range r.Limits() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", l.Text, map[bool]string{true: "yes", false: "**no**"}[l.Held], l.Said)
	}
	writeEndToEnd(&b, different, endToEnd)
	b.WriteString("\n## False rollbacks against requests spoiled\n\n")
	b.WriteString("Each judge is swept over its own parameter, in a canary with 10 % of the traffic. Ours is a point, as are its two halves alone: of ours every rollback counts, also those after the watch, of the others and of the halves those within it.\n")
	for _, rps := range Traffics {
		writeCurves(&b, r, rps)
	}
	r.writeOthers(&b)
	r.writeOurs(&b)
	return b.String()
}

func writeEndToEnd(b *strings.Builder, different []string, all int) {
	if all == 0 {
		return
	}
	fmt.Fprintf(b, "\n**End to end.** %d runs were judged a second time from their series, gathered from a window as the daemon does, at every tick: "+
		"the outcome was the same in %d.\n", all, all-len(different))
	for _, d := range different {
		fmt.Fprintf(b, "- %s\n", d)
	}
}

// writeOthers compares the judges in a canary with a tenth of the traffic.
func (r *Result) writeOthers(b *strings.Builder) {
	b.WriteString("\n## All judges side by side\n\nRolled back, and the median time from the onset, in a canary with 10 % of the traffic.\n\n")
	b.WriteString("| judge | settings |\n|---|---|\n| rollwatch | its defaults |\n")
	for _, p := range Policies {
		fmt.Fprintf(b, "| %s | %s |\n", p.Name, p.Settings)
	}
	for _, rps := range Traffics {
		fmt.Fprintf(b, "\n### %g requests a second\n\n| # | scenario | right | rollwatch |", rps)
		for _, p := range Policies {
			fmt.Fprintf(b, " %s |", p.Name)
		}
		b.WriteString("\n|---|---|---|---|" + strings.Repeat("---|", len(Policies)) + "\n")
		for _, c := range r.Cells {
			if c.RPS != rps || c.Rollout.Name != curveRollout {
				continue
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s |", c.Scenario.Number, c.Scenario.Name, c.Scenario.Label, inShort(&c.Ours))
			for i := range Policies {
				fmt.Fprintf(b, " %s |", inShort(&c.Others[i]))
			}
			b.WriteString("\n")
		}
	}
}

// inShort is how often a judge rolled back, and when.
func inShort(m *Measure) string {
	switch {
	case m.Runs == 0:
		return "-"
	case m.RolledBack == 0:
		return "0"
	default:
		return fmt.Sprintf("%.3g %% %s", 100*m.share(m.RolledBack), minutes(quantile(m.Delays, 0.5)))
	}
}

// minutes writes a time in minutes.
func minutes(d time.Duration) string { return fmt.Sprintf("%.1fm", d.Minutes()) }

// writeOurs writes every row of ours.
func (r *Result) writeOurs(b *strings.Builder) {
	b.WriteString("\n## Ours, every row\n")
	last := ""
	for _, c := range r.Cells {
		if c.Scenario.Number != last {
			last = c.Scenario.Number
			fmt.Fprintf(b, "\n### %s: %s\n\nRight: %s.%s\n\n", last, c.Scenario.Name, c.Scenario.Label, note(c.Scenario))
			b.WriteString("| strategy | requests/s | runs | rolled back | interval | median | p90 | promoted | held | blamed | spoiled | changes |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
		}
		m := &c.Ours
		low, high := wilson(m.RolledBack, m.Runs)
		fmt.Fprintf(b, "| %s | %g | %d | %.3g %% | %.2g-%.2g %% | %s | %s | %.3g %% | %.3g %% | %.3g/%.3g %% | %.1f | %.2f |\n", c.Rollout.Name, c.RPS, m.Runs,
			100*m.share(m.RolledBack), 100*low, 100*high, minutes(quantile(m.Delays, 0.5)), minutes(quantile(m.Delays, 0.9)),
			100*m.share(m.Promoted), 100*m.share(m.HeldAtEnd), 100*m.share(m.Blamed), 100*m.share(m.Misblamed), m.Harm/float64(max(1, m.Runs)), float64(m.Changes)/float64(max(1, m.Runs)))
	}
}

func note(s *Scenario) string {
	if s.Note == "" {
		return ""
	}
	return " " + strings.ToUpper(s.Note[:1]) + s.Note[1:] + "."
}

// table is everything that was measured, a line for each cell and judge.
func (r *Result) table() string {
	var b strings.Builder
	b.WriteString("scenario\tright\tstrategy\trps\tjudge\truns\trolled_back\tlow\thigh\tmedian_s\tp90_s\tpromoted\theld\tspoiled\tpromoted_after_s\n")
	for _, c := range r.Cells {
		row := func(judge string, m *Measure) {
			if m.Runs == 0 {
				return
			}
			low, high := wilson(m.RolledBack, m.Runs)
			fmt.Fprintf(&b, "%s\t%s\t%s\t%g\t%s\t%d\t%d\t%.5f\t%.5f\t%g\t%g\t%d\t%d\t%.2f\t%g\n", c.Scenario.Number, c.Scenario.Label, c.Rollout.Name, c.RPS, judge, m.Runs, m.RolledBack, low, high,
				quantile(m.Delays, 0.5).Seconds(), quantile(m.Delays, 0.9).Seconds(), m.Promoted, m.HeldAtEnd, m.Harm/float64(m.Runs), quantile(m.Promotions, 0.5).Seconds())
		}
		row("rollwatch", &c.Ours)
		for i, p := range Policies {
			row(p.Name, &c.Others[i])
		}
	}
	return b.String()
}
