package simulate

import (
	"time"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

// A rollout that has been held for heldFor, or is held after its watch, is judged
// asksAWatch times in the length of its watch, and when a gate on requests begins to
// fire, ceases to, or fires and sees something new; at each tick where there are few
// runs of a short watch. The gates on probes are asked once a minute, where the
// scenario is not told by them.
const (
	heldFor    = 3 * time.Minute
	asksAWatch = 5
)

// tenantTick is the tick of a minute at which tenants are judged: that before it has
// been written for certain.
const tenantTick = 2

// A counted gate is one on counts, with the sum of its window: as long as that is
// not over the limit the gate cannot fire, and need not be asked.
type counted struct {
	gate   alerts.Gate
	signal alerts.Signal
	sum    alerts.Ratio
	next   int // of the ticks, the first that is not in the sum
	oldest int
}

func (c *counted) crossed(ticks []alerts.Tick, from time.Time) bool {
	for ; c.next < len(ticks); c.next++ {
		n, bad := c.signal.Of(ticks[c.next].Subject)
		c.sum.N, c.sum.Bad = c.sum.N+n, c.sum.Bad+bad
	}
	for ; c.oldest < c.next && !ticks[c.oldest].At.After(from); c.oldest++ {
		n, bad := c.signal.Of(ticks[c.oldest].Subject)
		c.sum.N, c.sum.Bad = c.sum.N-n, c.sum.Bad-bad
	}
	return c.sum.Value() > c.gate.Limit
}

// worthAsking says whether the verdict may differ from the last one. While a rollout
// is under watch, or was promoted, that is so where a gate fires or something that is
// required was not seen for too long.
func (o *ours) worthAsking(n int, m *moment) bool {
	watch := o.world.rollout.Watch
	past := m.at >= watch
	alarms := o.wouldFire(begun.Add(m.at))
	changed := alarms != o.alarms
	o.alarms = alarms
	each := max(1, int(watch/interval)/asksAWatch)
	switch {
	case m.at == watch, m.at == max(o.after, 2*watch) && !o.promoted:
		return true
	case o.said == verdict.HoldOn && (past || m.at-o.heldSince > heldFor):
		// What a probe reads may pass, and so may the suspicion of one instance: where
		// there are few runs nothing is left out but in a watch that is long.
		rare := !o.world.scenario.null() && (alarms == 0 || watch < time.Hour)
		return changed || rare || o.onNews(alarms) || (n-int(watch/interval))%each == 0
	case o.said == verdict.HoldOn, past && !o.promoted, alarms != 0:
		return true
	case o.world.scenario.tellsTenants() && n%minuteTicks == tenantTick:
		return true
	default:
		return o.world.scenario.Probes && m.at > o.world.scenario.Onset || m.at-o.seen > verdict.LostAfter
	}
}

// onNews says whether one of the gates that fire has seen something new in this tick:
// what it is blamed on may be another thing now.
func (o *ours) onNews(firing uint64) bool {
	onCounts := uint64(1)<<len(o.counted) - 1
	return firing&onCounts != 0 || firing != 0 && o.paired
}

// wouldFire says which of the gates on requests fire. What they fire on is found by
// the very code that finds it when they are asked.
func (o *ours) wouldFire(now time.Time) (which uint64) {
	for i := range o.counted { // each has to see the tick
		c := &o.counted[i]
		if c.signal.Missing == "" && c.crossed(o.counts.Ticks, now.Add(-c.gate.For)) &&
			c.gate.Assess(o.counts, o.trial.Scene(now)).State == alerts.Firing {
			which |= 1 << i
		}
	}
	for i, gate := range o.comparing {
		if o.kept.Proven(gate) {
			which |= 1 << (len(o.counted) + i)
		}
	}
	return which
}

// worthReading says whether the gates on probes are to be asked. Where nothing but the
// source of requests may be away they say something new only when it is, when it
// comes back, and when all that is required must speak.
func (o *ours) worthReading(t time.Duration) bool {
	watch := o.world.rollout.Watch
	open := o.said == verdict.HoldOn || t > watch && !o.promoted || t-o.seen > verdict.LostAfter
	return o.world.scenario.Probes || o.world.scenario.tellsTenants() || o.everyTick || o.read == nil || t == watch || open && t-o.readAt >= time.Minute
}
