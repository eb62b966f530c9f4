package alerts

import "time"

// besides is what two versions that serve side by side show, tick by tick: how many
// of all bad requests fell on the new one, and how many would if both were alike. By
// ticks, since what is ill for a while meets the one that serves more then. Of the
// routes of a version, now and before the rollout, it is the same.
type besides struct {
	n, controlN   float64
	bad, expected float64 // that fell on the new version
	all           float64 // that fell on both
}

func (b *besides) add(subject, control Ratio) {
	b.n, b.controlN = b.n+subject.N, b.controlN+control.N
	b.bad, b.all = b.bad+subject.Bad, b.all+subject.Bad+control.Bad
	if n := subject.N + control.N; n > 0 {
		b.expected += (subject.Bad + control.Bad) * subject.N / n
	}
}

// evidence is that the new version is worse, in nats: by Chernoff's bound for so many
// trials, of which each has its own chance.
func (b *besides) evidence() float64 {
	if b.all == 0 {
		return 0
	}
	return b.all * divergence(b.bad/b.all, b.expected/b.all)
}

// outlasts is for how many windows what the old version suffered as well goes on to be
// nobody's once that is gone: what lasts longer than any doubt about it is the new one's.
const outlasts = 2

// suffersAlike says whether the old version beside the new one is as ill, from when
// the trouble began: then both need what is ill. By now the old one may be gone, if not
// for long: it may have failed since it was being stopped.
func (g Gate) suffersAlike(signal Signal, firing time.Time, counts Counts, scene Scene) bool {
	usual := leastFavourable(signal.Frozen, Ratio{}, g.Limit)
	var is, well besides // as it is, and as it would be if the old version were well
	var beside time.Time // when both served last
	for _, tick := range counts.between(g.troubleBegan(signal, firing, counts, scene), scene.Now) {
		subject, control := Ratio{}.add(signal.Of(tick.Subject)), Ratio{}.add(signal.Of(tick.Control))
		if tick.Subject.Seen && tick.Control.Seen && subject.N > 0 && control.N > 0 {
			is.add(subject, control)
			well.add(subject, Ratio{control.N, usual * control.N})
			beside = tick.At
		}
	}
	if scene.Now.Sub(beside) > outlasts*g.For {
		return false
	}
	return is.controlN > 0 && is.evidence() < needsOf(is, well, scene)
}

// needsOf is the evidence that the new version is worse, from which on it is to blame.
// Stable goes on beside a canary, so that there will be more. Old pods that were
// replaced can only have shown so much: a third of that must do.
func needsOf(is, well besides, scene Scene) float64 {
	const muchLess = 4 // times: a stable that is sent next to nothing acquits nobody
	if scene.comparesTracks(false) && is.controlN >= is.n/muchLess {
		return guardNeeded
	}
	return min(guardNeeded, well.evidence()/3)
}

// troubleBegan is when, without a break up to the window in which the gate began to
// fire, each of its spans was over the limit.
func (g Gate) troubleBegan(signal Signal, firing time.Time, counts Counts, scene Scene) time.Time {
	span := g.For / time.Duration(spansOf(g.For, scene.Interval))
	began := firing.Add(-g.For)
	for began.After(scene.EvidenceFrom()) {
		var before Ratio
		for _, tick := range counts.between(began.Add(-span), began) {
			before = before.add(signal.Of(tick.Subject))
		}
		if before.Value() <= g.Limit {
			break
		}
		began = began.Add(-span)
	}
	return later(began, scene.EvidenceFrom())
}
