package simulate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/feature"
	"github.com/rollwatch/rollwatch/verdict"
)

// An Outcome is what one judge made of one run.
type Outcome struct {
	RolledBack time.Duration // when; 0: it did not
	Promoted   time.Duration // when first; 0: it did not
	AtEnd      verdict.Word  // at the end of the watch
	Held       bool          // it said hold at least once
	Blamed     alerts.Cause  // what the first firing evidence was attributed to; "" nothing fired
	Fired      bool
	Late       time.Duration // that the fault began after its onset: between two scrapes
	Changes    int           // of the verdict
	Harm       float64       // requests that the fault spoiled before it was rolled back
}

// serviceOf is the service as rollwatch is configured for it.
func serviceOf(s *Scenario, r Rollout) *alerts.Service {
	service := &alerts.Service{
		Name: serviceName, Databases: []string{databaseName},
		Metrics: alerts.Metrics{Preset: "prom-client", Scrape: []collector.ScrapeTarget{{URL: "http://127.0.0.1/metrics"}}},
	}
	if r.Strategy == alerts.Canary {
		service.Tracks = map[string]alerts.Labels{"canary": {trackLabel: "canary"}, "stable": {trackLabel: "stable"}}
	} else {
		service.VersionLabel = versionLabel
	}
	if s.tellsTenants() {
		service.TenantLabel = tenantLabel
		service.Metrics.Preset, service.Metrics.Latency = "", durationMetric
		service.Metrics.Requests, service.Metrics.Errors = requestMetric, requestMetric+`{status_code=~"5.."}`
	}
	if s.Workers {
		service.Completions, service.Failures, service.Concurrency = jobsDone, jobsFailed, workersSlots
	}
	if s.Probes {
		service.Queues = []string{queueName}
		service.Features = []*feature.Config{{Service: serviceName, Name: featureName}}
	}
	return service
}

// ours is rollwatch's own judge on a world: the real gates, fed with counts, and
// the real verdict.
type ours struct {
	world     *world
	trial     *verdict.Trial
	gates     []alerts.Gate
	counted   []counted
	comparing []alerts.Gate
	counts    alerts.Counts
	work      alerts.Counts // of workers
	kept      *alerts.Kept
	everyTick bool // leave no tick out: for the test that leaving some out changes nothing
	watchOnly bool // end with the watch
	after     time.Duration
	promoted  bool
	paired    bool // both arms were seen in this tick
	said      verdict.Word
	seen      time.Duration             // when what is required was seen last: both arms, where they are compared
	heldSince time.Duration             // since when it says hold
	alarms    uint64                    // the gates on requests that would have fired at the last tick, a bit for each
	read      map[string]alerts.Finding // by the gates on probes
	readAt    time.Duration
	out       Outcome
}

// newOurs registers the rollout of a world. Of the gates only those that keep says
// are asked; nil: all.
func newOurs(w *world, keep func(alerts.Gate) bool) (*ours, error) {
	service := serviceOf(w.scenario, w.rollout)
	w.all = 0 // another judge may have promoted it
	o := &ours{world: w, kept: &alerts.Kept{}, after: time.Duration(verdict.DefaultConfig().Watch.After), said: verdict.Continue}
	for _, gate := range alerts.Gates(alerts.Config{}, service) {
		if keep == nil || keep(gate) {
			o.gates = append(o.gates, gate)
		}
	}
	baseline, err := w.baseline(o.gates)
	if err != nil {
		return nil, err
	}
	o.trial, err = verdict.NewTrialOn(baseline, windowOf(w), service, o.gates, verdict.DefaultConfig(), interval, registrationOf(w.rollout))
	if err != nil {
		return nil, fmt.Errorf("register the rollout: %w", err)
	}
	o.counts = alerts.Counts{Edges: edges, Ticks: w.room[:0]}
	if w.scenario.Workers {
		o.work.Queues, o.work.Pace = []string{jobQueue}, w.pace()
	}
	o.follow()
	return o, nil
}

func registrationOf(r Rollout) verdict.Registration {
	return verdict.Registration{
		Service: serviceName, Version: newVersion, PreviousVersion: oldVersion, Strategy: r.Strategy, StartedAt: begun,
	}
}

// baseline is what the hour before was like.
func (w *world) baseline(gates []alerts.Gate) (alerts.Baseline, error) {
	counts := alerts.Counts{Edges: edges}
	for i, t := range w.before {
		counts.Ticks = append(counts.Ticks, alerts.Tick{At: begun.Add(-block * time.Duration(blocks-1-i)), Control: t})
	}
	span := alerts.Span{From: begun.Add(-time.Hour), To: begun}
	return alerts.BaselineOf(gates, alerts.BaselineStable, counts, span, func(t alerts.Tick) alerts.Tally { return t.Control })
}

// follow begins the sums of the gates on counts anew: at the start, and when
// something else is judged.
func (o *ours) follow() {
	o.counted, o.comparing = o.counted[:0], o.comparing[:0]
	scene := o.trial.Scene(begun)
	for _, gate := range o.gates {
		switch {
		case gate.Count != nil:
			o.counted = append(o.counted, counted{gate: gate, signal: gate.Count(gate, o.counts, scene)})
		case gate.Compare != nil:
			o.comparing = append(o.comparing, gate)
		}
	}
}

// judge judges the world to its end.
func (o *ours) judge(ctx context.Context) (Outcome, error) {
	watch := o.world.rollout.Watch
	for n := 1; ; n++ {
		m := o.world.reach(n)
		o.show(m)
		if m.at <= watch {
			o.out.Harm += m.harm
		}
		final := false
		if o.everyTick || o.worthAsking(n, m) {
			var err error
			if final, err = o.ask(ctx, n, m.at); err != nil {
				return Outcome{}, err
			}
		}
		if m.at == watch {
			o.out.AtEnd = o.said
		}
		if final || m.at >= max(o.after, 2*watch) || o.watchOnly && m.at >= watch {
			return o.out, nil
		}
	}
}

// show adds a tick to the counts.
func (o *ours) show(m *moment) {
	tick := alerts.Tick{At: begun.Add(m.at), Source: m.source, Subject: m.new, Control: m.old}
	if o.promoted && o.world.rollout.Strategy == alerts.Canary {
		tick = o.afterPromotion(m)
	}
	o.paired = tick.Subject.Seen && tick.Control.Seen
	if tick.Source == alerts.SourceUnknown && !tick.Subject.Seen && !tick.Control.Seen {
		return // no scrape at all
	}
	o.counts.Ticks = append(o.counts.Ticks, tick)
	o.world.room = o.counts.Ticks
	if compared := o.world.rollout.Strategy == alerts.Canary && !o.promoted; o.paired || tick.Subject.Seen && !compared {
		o.seen = m.at
	}
	working := o.working(m, tick)
	if o.world.scenario.Workers {
		o.work.Ticks = append(o.work.Ticks, working)
	}
	if !o.paired {
		return
	}
	scene := o.trial.Scene(tick.At)
	for _, gate := range o.comparing {
		if gate.CountsWork() {
			o.kept.Take(gate, o.work, working, scene)
		} else {
			o.kept.Take(gate, o.counts, tick, scene)
		}
	}
}

// afterPromotion is a tick of a canary that was promoted: what was stable is judged
// then, and is the new version from the promotion on.
func (o *ours) afterPromotion(m *moment) alerts.Tick {
	tick := alerts.Tick{At: begun.Add(m.at), Source: m.source, Subject: m.old}
	if m.at > o.world.all {
		tick.Subject = m.new
	}
	return tick
}

// working is what the workers did in a tick. After the promotion of a canary there is
// nobody to compare them with.
func (o *ours) working(m *moment, tick alerts.Tick) alerts.Tick {
	if o.promoted && o.world.rollout.Strategy == alerts.Canary {
		return alerts.Tick{At: tick.At, Source: tick.Source, Subject: worked(m.oldWork, m.old.Seen)}
	}
	return alerts.Tick{At: tick.At, Source: tick.Source, Subject: worked(m.newWork, m.new.Seen), Control: worked(m.oldWork, m.old.Seen)}
}

// ask lets the gates and the judge decide.
func (o *ours) ask(ctx context.Context, n int, t time.Duration) (final bool, err error) {
	now := begun.Add(t)
	scene := o.trial.Scene(now)
	scene.Kept, scene.Brief = o.kept, true
	read := o.worthReading(t)
	var gates []alerts.Gate
	for _, gate := range o.gates {
		if read || gate.Eval == nil {
			gates = append(gates, gate)
		}
	}
	findings, err := alerts.EvaluateFrom(ctx, gates, o.source, scene)
	if err != nil {
		return false, err
	}
	if read {
		o.keep(findings, t)
	} else {
		for _, f := range o.read {
			findings = append(findings, f)
		}
	}
	doc := o.trial.Judge(findings, now)
	o.note(doc, t)
	if doc.Verdict == verdict.Promote && !o.promoted {
		o.promote(n, t)
	}
	return doc.Final, nil
}

// keep remembers what the gates on probes found.
func (o *ours) keep(findings []alerts.Finding, t time.Duration) {
	o.read, o.readAt = map[string]alerts.Finding{}, t
	for i, gate := range o.gates {
		if gate.Eval != nil {
			o.read[gate.Name] = findings[i]
		}
	}
}

// note keeps what is measured of a verdict.
func (o *ours) note(doc verdict.Document, t time.Duration) {
	for _, f := range doc.Findings {
		if f.State == alerts.Firing && f.Mode == alerts.Enforce && !o.out.Fired {
			o.out.Fired, o.out.Blamed = true, f.Cause
		}
	}
	if o.said != "" && doc.Verdict != o.said {
		o.out.Changes++
	}
	if doc.Verdict == verdict.HoldOn && o.said != verdict.HoldOn {
		o.heldSince = t
	}
	o.said = doc.Verdict
	o.out.Held = o.out.Held || doc.Verdict == verdict.HoldOn
	if doc.Verdict == verdict.Rollback {
		o.out.RolledBack, o.out.Late = t, o.world.late
	}
}

// promote gives the new version all of the traffic.
func (o *ours) promote(n int, t time.Duration) {
	o.promoted, o.out.Promoted, o.world.all = true, t, t
	if o.world.rollout.Strategy != alerts.Canary {
		return
	}
	o.counts.Ticks, o.work.Ticks, o.kept = o.counts.Ticks[:0], o.work.Ticks[:0], &alerts.Kept{}
	for i := range n {
		o.show(&o.world.ticks[i])
	}
	o.follow()
}

// source gives the gates the counts of the world.
func (o *ours) source(_ context.Context, gate alerts.Gate, _ alerts.Scene, byPod bool) (alerts.Counts, error) {
	counts, pods := o.counts, o.world.byPod
	if gate.CountsWork() {
		counts, pods = o.work, o.world.workByPod
	}
	if !byPod {
		return counts, nil
	}
	counts.Ticks = slices.Clone(counts.Ticks)
	for i := range counts.Ticks {
		n := int(counts.Ticks[i].At.Sub(begun) / interval)
		if !o.promoted || time.Duration(n)*interval > o.world.all {
			counts.Ticks[i].Pods = pods(n)
		}
	}
	return counts, nil
}
