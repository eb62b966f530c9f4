package simulate

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/verdict"
)

// A recording writes a world down as the series that a scrape of it would leave.
type recording struct {
	world    *world
	probes   *window
	requests []line
	stable   []line // the new instances as stable ones, once a canary is promoted
	memory   *collector.Memory
	err      error
}

// whole judges a world from its series: counts are gathered from a window, and
// every gate is evaluated at every tick, as the daemon does.
func whole(ctx context.Context, w *world) (Outcome, error) {
	service := serviceOf(w.scenario, w.rollout)
	gates := alerts.Gates(alerts.Config{}, service)
	r := &recording{world: w, probes: windowOf(w), requests: w.requests(), memory: collector.NewMemory()}
	if w.scenario.Workers {
		r.requests = append(r.requests, w.workers()...)
	}
	r.before()
	trial, err := verdict.NewTrial(ctx, r.memory, service, gates, verdict.DefaultConfig(), interval, registrationOf(w.rollout))
	if err != nil {
		return Outcome{}, fmt.Errorf("register the rollout: %w", err)
	}
	// What is noted of a verdict is noted by the same code.
	o := &ours{world: w, after: time.Duration(verdict.DefaultConfig().Watch.After)}
	w.all = 0
	for n := 1; r.err == nil; n++ {
		m := w.reach(n)
		r.tick(n)
		doc, err := trial.At(ctx, begun.Add(m.at))
		if err != nil {
			return Outcome{}, err
		}
		o.note(doc, m.at)
		if doc.Verdict == verdict.Promote && !o.promoted {
			o.promoted, o.out.Promoted, w.all = true, m.at, m.at
		}
		if m.at <= w.rollout.Watch {
			o.out.Harm += m.harm
		}
		if m.at == w.rollout.Watch {
			o.out.AtEnd = o.said
		}
		if doc.Final || m.at >= max(o.after, 2*w.rollout.Watch) {
			return o.out, nil
		}
	}
	return Outcome{}, r.err
}

// before writes the hour before the rollout.
func (r *recording) before() {
	for tick := -ticksBefore; tick <= 0; tick++ {
		r.tick(tick)
	}
}

// tick writes one tick.
func (r *recording) tick(n int) {
	if w := r.world; w.all > 0 && r.stable == nil && w.rollout.Strategy == alerts.Canary {
		r.stable = w.stable()
		r.lines(n-1, r.stable) // where their counters begin
	}
	r.lines(n, r.probes.lines)
	r.lines(n, r.requests)
	r.lines(n, r.stable)
}

// lines writes what series tell at a tick.
func (r *recording) lines(tick int, lines []line) {
	for _, l := range lines {
		if v, ok := l.value(tick); ok {
			r.write(tick, l.labels, v)
		}
	}
}

func (r *recording) write(tick int, l labels.Labels, v float64) {
	if err := r.memory.Append(begun.Add(time.Duration(tick)*interval), l, v); err != nil && r.err == nil {
		r.err = err
	}
}

// EndToEnd plays runs of every cell twice, by counts and by series, and says of how
// many the outcome is not the same.
func EndToEnd(ctx context.Context, o Options, runs int) (different []string, all int, err error) {
	for _, cell := range o.cells() {
		for run := range runs {
			difference, err := cell.twice(ctx, o.Seeds, run)
			if err != nil {
				return nil, 0, err
			}
			if all++; difference != "" {
				different = append(different, difference)
			}
		}
	}
	return different, all, nil
}

// twice plays one run by counts and by series, and says what differs; "" if nothing
// does.
func (c *Cell) twice(ctx context.Context, seeds Seeds, run int) (string, error) {
	var counted, recorded world
	counted.begin(c.Scenario, c.Rollout, c.RPS, seeds.source(c.key(), run), run)
	recorded.begin(c.Scenario, c.Rollout, c.RPS, seeds.source(c.key(), run), run)
	byCounts, err := judgeOnce(ctx, &counted, nil, false)
	if err != nil {
		return "", err
	}
	bySeries, err := whole(ctx, &recorded)
	if err != nil || !byCounts.differs(bySeries, c.Rollout.Watch) {
		return "", err
	}
	return fmt.Sprintf("%s run %d: %+v by counts, %+v by series", c.key(), run, byCounts, bySeries), nil
}

// differs says whether two outcomes are not the same. What is asked more seldom may
// be seen that much later.
func (o Outcome) differs(p Outcome, watch time.Duration) bool {
	late := max(time.Minute, watch/asksAWatch)
	return (o.RolledBack-p.RolledBack).Abs() > late || (o.Promoted-p.Promoted).Abs() > late || (o.RolledBack > 0) != (p.RolledBack > 0) ||
		(o.Promoted > 0) != (p.Promoted > 0) || o.AtEnd != p.AtEnd || o.Held != p.Held || o.Blamed != p.Blamed
}
