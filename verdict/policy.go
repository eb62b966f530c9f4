package verdict

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// maxGrace bounds how long a rollout may be excused for warming up: a longer
// grace would hide a broken version for most of a blue-green watch.
const maxGrace = 2 * time.Minute

// Config is the `judge:` section. The zero value means DefaultConfig.
type Config struct {
	// Grace is how long a rollout warms up: what goes wrong then does not count, but for corruption, broken critical features and outages. 2m at most.
	Grace model.Duration `yaml:"grace" jsonschema:"default=1m"`
	// MinRequests is how many requests must have been counted before a gate speaks for a promotion.
	MinRequests float64 `yaml:"min_requests" jsonschema:"minimum=0,default=100"`
	// RequireDetectable is the ratio to the baseline that the traffic must be enough to find, for each required gate that counts, before a rollout is promoted; 0 requires nothing.
	RequireDetectable float64 `yaml:"require_detectable" jsonschema:"minimum=0,default=0"`
	// DryRun judges and tells, but opens every gate.
	DryRun bool `yaml:"dry_run" jsonschema:"default=false"`
	// Watch is how long rollouts are watched.
	Watch Watch `yaml:"watch"`
	// Retention is how long closed rollouts are kept on record.
	Retention model.Duration `yaml:"retention" jsonschema:"default=400d"`
}

// Watch is how long a rollout is watched before it may be promoted.
type Watch struct {
	// Rolling is the watch of a rolling rollout.
	Rolling model.Duration `yaml:"rolling" jsonschema:"default=2h"`
	// RollingPhases are where one phase of a rolling watch ends and the next begins.
	RollingPhases []model.Duration `yaml:"rolling_phases"`
	// BlueGreen is the watch of a blue-green rollout.
	BlueGreen model.Duration `yaml:"blue_green" jsonschema:"default=5m"`
	// Canary is the watch of a canary.
	Canary model.Duration `yaml:"canary" jsonschema:"default=15m"`
	// After is the time from the start until which a promoted rollout may still be rolled back.
	After model.Duration `yaml:"after" jsonschema:"default=2h"`
}

// DefaultConfig is the `judge:` section of an empty file.
func DefaultConfig() Config {
	minutes := func(n int) model.Duration { return model.Duration(time.Duration(n) * time.Minute) }
	return Config{
		Grace:       minutes(1),
		MinRequests: 100,
		Watch: Watch{
			Rolling:       minutes(120),
			RollingPhases: []model.Duration{minutes(5), minutes(30)},
			BlueGreen:     minutes(5),
			Canary:        minutes(15),
			After:         minutes(120),
		},
		Retention: minutes(400 * 24 * 60),
	}
}

// isZero says whether nothing was configured.
func (c Config) isZero() bool {
	w := c.Watch
	return c.Grace == 0 && c.MinRequests == 0 && c.RequireDetectable == 0 && !c.DryRun && c.Retention == 0 &&
		w.Rolling == 0 && w.RollingPhases == nil && w.BlueGreen == 0 && w.Canary == 0 && w.After == 0
}

// Validate names what contradicts itself.
func (c Config) Validate() []probe.Fault {
	var faults []probe.Fault
	fault := func(path, problem, cure string) {
		faults = append(faults, probe.Fault{Path: path, Problem: problem, Cure: cure})
	}
	if grace := time.Duration(c.Grace); grace < 0 || grace > maxGrace {
		fault("$.grace", "the grace is "+c.Grace.String(), "use 0s to 2m: a longer one would hide a broken version")
	}
	if c.MinRequests < 0 {
		fault("$.min_requests", "a number of requests cannot be negative", "use 0 or more (100 by default)")
	}
	if x := c.RequireDetectable; x != 0 && !(x >= alerts.LeastDetectable) || math.IsInf(x, 0) {
		fault("$.require_detectable", fmt.Sprintf("no traffic would prove a version %g times as bad", x),
			fmt.Sprintf("use %g or more, as in 3, or 0 to require nothing", alerts.LeastDetectable))
	}
	watches := []struct {
		key    string
		length model.Duration
	}{{"rolling", c.Watch.Rolling}, {"blue_green", c.Watch.BlueGreen}, {"canary", c.Watch.Canary}}
	for _, w := range watches {
		if w.length <= c.Grace {
			fault("$.watch."+w.key, "a watch of "+w.length.String()+" ends within the grace of "+c.Grace.String()+", so nothing could be observed",
				"use a longer watch or a shorter judge.grace")
		}
	}
	if c.Watch.After < 0 {
		fault("$.watch.after", "a length of time cannot be negative", "use 0s for no after-watch, or 2h")
	}
	ends := c.Watch.RollingPhases
	if !slices.IsSorted(ends) || len(slices.Compact(slices.Clone(ends))) < len(ends) || (len(ends) > 0 && ends[0] <= 0) {
		fault("$.watch.rolling_phases", "the ends of the phases do not rise", "list them rising, as in [5m, 30m]")
	}
	if c.Retention <= 0 {
		fault("$.retention", "closed rollouts would be forgotten at once", "use 30d or more")
	}
	return faults
}

// A Policy is what the judge goes by, besides the evidence.
type Policy struct {
	Grace         time.Duration
	DryRun        bool
	Rolling       time.Duration
	RollingPhases []time.Duration // ends of the inner phases, rising
	BlueGreen     time.Duration
	Canary        time.Duration
	After         time.Duration // from the start
	Detectable    float64       // the ratio to the baseline that must be found if it is there; 0: none
	Validity      time.Duration // how long a judgement may be believed
}

// Policy returns what the judge goes by when it judges once an interval.
func (c Config) Policy(interval time.Duration) Policy {
	p := Policy{
		Grace:      time.Duration(c.Grace),
		DryRun:     c.DryRun,
		Rolling:    time.Duration(c.Watch.Rolling),
		BlueGreen:  time.Duration(c.Watch.BlueGreen),
		Canary:     time.Duration(c.Watch.Canary),
		After:      time.Duration(c.Watch.After),
		Detectable: c.RequireDetectable,
		Validity:   staleAfter * interval,
	}
	for _, end := range c.Watch.RollingPhases {
		p.RollingPhases = append(p.RollingPhases, time.Duration(end))
	}
	return p
}

// staleAfter is how many intervals a judgement may be believed.
const staleAfter = 3

// Watch is how long a rollout of the strategy is watched before it may be promoted.
func (p Policy) Watch(strategy alerts.Strategy) time.Duration {
	switch strategy {
	case alerts.BlueGreen:
		return p.BlueGreen
	case alerts.Canary:
		return p.Canary
	default:
		return p.Rolling
	}
}

// PhaseAfter is the phase that follows the watch.
const PhaseAfter = "after"

// Phases are the names of the phases of a watch, in order, without PhaseAfter.
func (p Policy) Phases(strategy alerts.Strategy) []string {
	var names []string
	from := time.Duration(0)
	for _, end := range p.phaseEnds(strategy) {
		names = append(names, phaseName(from, end))
		from = end
	}
	return names
}

// Phase names the part of the watch in which a rollout is, that long after its start.
func (p Policy) Phase(strategy alerts.Strategy, elapsed time.Duration) string {
	names := p.Phases(strategy)
	for i, end := range p.phaseEnds(strategy) {
		if elapsed < end {
			return names[i]
		}
	}
	return PhaseAfter
}

// phaseEnds are the ends of the phases; the last is the end of the watch.
func (p Policy) phaseEnds(strategy alerts.Strategy) []time.Duration {
	watch := p.Watch(strategy)
	var ends []time.Duration
	if strategy == alerts.Rolling {
		for _, end := range p.RollingPhases {
			if end < watch {
				ends = append(ends, end)
			}
		}
	}
	return append(ends, watch)
}

// phaseName writes a span as people do: 0-5m, 5-30m, 30m-2h.
func phaseName(from, to time.Duration) string {
	start, end := model.Duration(from).String(), model.Duration(to).String()
	if from == 0 {
		return "0-" + end
	}
	number, unit := splitUnit(start)
	if _, endUnit := splitUnit(end); unit == endUnit {
		return strconv.Itoa(number) + "-" + end
	}
	return start + "-" + end
}

// splitUnit takes a duration of one unit apart; of several units, as 1m30s, it
// returns the whole as the unit.
func splitUnit(text string) (int, string) {
	i := 0
	for i < len(text) && text[i] >= '0' && text[i] <= '9' {
		i++
	}
	number, err := strconv.Atoi(text[:i])
	if err != nil || slices.ContainsFunc([]byte(text[i:]), func(c byte) bool { return c >= '0' && c <= '9' }) {
		return 0, text
	}
	return number, text[i:]
}
