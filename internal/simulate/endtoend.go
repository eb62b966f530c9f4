package simulate

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/verdict"
)

// A recording writes a world down as the series that a scrape of it would leave.
type recording struct {
	world  *world
	probes *window
	memory *collector.Memory
	sums   map[string]alerts.Tally // of each instance
	err    error
}

// whole judges a world from its series: counts are gathered from a window, and
// every gate is evaluated at every tick, as the daemon does.
func whole(ctx context.Context, w *world) (Outcome, error) {
	service := serviceOf(w.scenario, w.rollout)
	gates := alerts.Gates(alerts.Config{}, service)
	r := &recording{world: w, probes: windowOf(w), memory: collector.NewMemory(), sums: map[string]alerts.Tally{}}
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
		if done := tick + ticksBefore; done > 0 && done%(ticksBefore/blocks) == 0 {
			r.count("old:9464", r.world.before[done/(ticksBefore/blocks)-1])
		}
		r.counters(tick, "old:9464", false)
		r.probe(tick)
	}
	for i := range r.world.pods(interval) {
		r.counters(0, podName(i), true)
	}
}

// tick writes one tick.
func (r *recording) tick(n int) {
	r.probe(n)
	m := &r.world.ticks[n-1]
	if m.old.Seen {
		r.count("old:9464", m.old)
		r.counters(n, "old:9464", false)
	}
	promoted := r.world.all > 0 && m.at > r.world.all && r.world.rollout.Strategy == alerts.Canary
	for name, tally := range r.world.byPod(n) {
		if promoted { // the stable instances are new ones then
			if _, known := r.sums["stable "+name]; !known {
				r.count("stable "+name, alerts.Tally{})
				r.append(n-1, name, false, "stable "+name)
			}
			r.count("stable "+name, tally)
			r.append(n, name, false, "stable "+name)
			continue
		}
		r.count(name, tally)
		r.counters(n, name, true)
	}
}

// count adds to what an instance counted.
func (r *recording) count(name string, t alerts.Tally) {
	sum := r.sums[name]
	sum.Requests, sum.Errors = sum.Requests+t.Requests, sum.Errors+t.Errors
	slower := make([]float64, len(edges))
	for i := range slower {
		if i < len(sum.Slower) {
			slower[i] = sum.Slower[i]
		}
		if i < len(t.Slower) {
			slower[i] += t.Slower[i]
		}
	}
	sum.Slower = slower
	r.sums[name] = sum
}

// counters writes what an instance counted so far.
func (r *recording) counters(tick int, name string, isNew bool) { r.append(tick, name, isNew, name) }

func (r *recording) append(tick int, instance string, isNew bool, as string) {
	sum := r.sums[as]
	const metric = "http_request_duration_seconds"
	r.write(tick, r.world.instance(metric+"_count", instance, isNew, "status_code", "200"), sum.Requests-sum.Errors)
	r.write(tick, r.world.instance(metric+"_count", instance, isNew, "status_code", "500"), sum.Errors)
	for i, edge := range edges {
		slower := 0.0
		if i < len(sum.Slower) {
			slower = sum.Slower[i]
		}
		r.write(tick, r.world.instance(metric+"_bucket", instance, isNew, "status_code", "200", "le", strconv.FormatFloat(edge, 'g', -1, 64)), sum.Requests-slower)
	}
	r.write(tick, r.world.instance(metric+"_bucket", instance, isNew, "status_code", "200", "le", "+Inf"), sum.Requests)
}

// probe writes what the probes read at a tick.
func (r *recording) probe(tick int) {
	for _, l := range r.probes.lines {
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
