package simulate

import (
	"fmt"
	"slices"
	"strings"
)

// curvesAt are the curves at one traffic: false rollbacks on average over the
// scenarios in which nothing is wrong with the version, against the requests that
// were spoiled on average over those in which something is. Ours is first.
func (r *Result) curvesAt(rps float64) []curve {
	var curves []curve
	add := func(name string, measure func(*Cell) *Measure) {
		p, ok := r.pointOf(rps, measure)
		if !ok {
			return
		}
		if i := slices.IndexFunc(curves, func(c curve) bool { return c.name == name }); i >= 0 {
			curves[i].points = append(curves[i].points, p)
			return
		}
		curves = append(curves, curve{name: name, points: []point{p}})
	}
	add("rollwatch", func(c *Cell) *Measure { return &c.Ours })
	for i, name := range partNames {
		add(name, func(c *Cell) *Measure { return &c.Parts[i] })
	}
	for i, p := range Swept {
		add(fmt.Sprintf("%s, by %s", p.Family, p.Swept), func(c *Cell) *Measure { return &c.Swept[i] })
	}
	return curves
}

// pointOf is one point of a curve, false where nothing was simulated for it.
func (r *Result) pointOf(rps float64, measure func(*Cell) *Measure) (p point, ok bool) {
	nulls, faults := 0, 0
	for _, c := range r.Cells {
		if c.RPS != rps || !c.curved() || len(c.Swept) == 0 {
			continue
		}
		m := measure(c)
		switch {
		case c.Scenario.Label == Keep:
			p.x += m.share(m.RolledBack)
			nulls++
		case c.Scenario.Label == Rollback && c.Scenario.Onset < c.Rollout.Watch:
			p.y += m.Harm / float64(max(1, m.Runs))
			faults++
		}
	}
	if nulls == 0 || faults == 0 {
		return point{}, false
	}
	return point{p.x / float64(nulls), p.y / float64(faults)}, true
}

// notBelow says where a curve of another judge lies under ours: it rolls back no
// more healthy rollouts, and lets fewer requests be spoiled.
func notBelow(curves []curve) []string {
	var lost []string
	if len(curves) == 0 {
		return nil
	}
	ours := curves[0].points[0]
	for _, c := range curves[1+parts:] {
		for _, p := range c.points {
			if p.x <= ours.x && p.y < ours.y {
				lost = append(lost, fmt.Sprintf("%s: %s false, %.1f requests (ours %s and %.1f)", c.name, percent(p.x), p.y, percent(ours.x), ours.y))
			}
		}
	}
	return lost
}

// writeCurves writes what the pictures show, in numbers.
func writeCurves(b *strings.Builder, r *Result, rps float64) {
	curves := r.curvesAt(rps)
	if len(curves) == 0 {
		return
	}
	fmt.Fprintf(b, "\n![%g requests a second](verdict-quality-%g.svg)\n\n", rps, rps)
	fmt.Fprintf(b, "| at %g requests a second | false rollbacks -> requests spoiled, point by point |\n|---|---|\n", rps)
	for _, c := range curves {
		var points []string
		for _, p := range c.points {
			points = append(points, fmt.Sprintf("%s -> %.1f", percent(p.x), p.y))
		}
		fmt.Fprintf(b, "| %s | %s |\n", c.name, strings.Join(points, "; "))
	}
	if lost := notBelow(curves); len(lost) > 0 {
		fmt.Fprintf(b, "\nHere ours is not below: %s.\n", strings.Join(lost, "; "))
	} else {
		b.WriteString("\nNo point of another judge has as few false rollbacks and fewer requests spoiled.\n")
	}
}
