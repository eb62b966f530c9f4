package alerts

import "maps"

// worstPod names the one instance without which the gate would not fire, ""
// when there is none or fewer than two others serve.
func (g Gate) worstPod(counts Counts, scene Scene) string {
	signal := g.Count(g, counts, scene)
	window := scene.window(g.For)
	pods := map[string]Ratio{}
	for _, tick := range counts.between(window.From, window.To) {
		for name, tally := range tick.Pods {
			pods[name] = pods[name].add(signal.Of(tally))
		}
	}
	worst := ""
	for name, r := range pods {
		if r.Bad > pods[worst].Bad || r.Bad == pods[worst].Bad && name < worst {
			worst = name
		}
	}
	maps.DeleteFunc(pods, func(name string, r Ratio) bool { return name == worst || r.N == 0 })
	if len(pods) < othersServing || worst == "" {
		return ""
	}
	if g.assess(signal, counts.without(worst), scene).State == Firing {
		return ""
	}
	return worst
}

// without leaves one instance out of the subject.
func (c Counts) without(pod string) Counts {
	ticks := make([]Tick, len(c.Ticks))
	for i, t := range c.Ticks {
		if tally, ok := t.Pods[pod]; ok {
			t.Subject = t.Subject.add(tally, -1)
		}
		ticks[i] = t
	}
	c.Ticks = ticks
	return c
}
