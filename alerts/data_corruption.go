package alerts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/collector"
)

// dataCorruption finds data that became wrong under the rollout. One reading is
// enough, and the grace excuses nothing: what was written stays written.
var dataCorruption = Gate{
	Name:     "data_corruption",
	Help:     "an invariant is violated more than before the rollout, a page's checksum was wrong, or row-level security was switched off",
	Summary:  "Data became wrong.",
	From:     fromProbes,
	Mode:     Enforce,
	Unit:     "faults",
	impact:   "more faults in the data of %s than ten minutes ago",
	Required: true,
	Applies:  func(s *Service) bool { return len(s.Databases) > 0 },
	Eval:     evalDataCorruption,
	alertQL: func(_ Gate, s *Service) string {
		var all []string
		for _, sign := range corruptionSigns {
			all = append(all, fmt.Sprintf("max(%s) > 0", sign.lately(s.Databases)))
		}
		return strings.Join(all, "\nor\n")
	},
	drawQL: func(_ Gate, s *Service) string {
		return fmt.Sprintf("sum(%s{target=~%q})", invariantsMetric, strings.Join(s.Databases, "|"))
	},
}

const invariantsMetric = "pg_invariant_violations"

// A corruptionSign is a series of a database that tells of wrong data.
type corruptionSign struct {
	metric string
	label  string  // whose value says what it is about; "" for the whole database
	worse  float64 // 1: more is worse, -1: less is
	count  bool    // a counter, which may begin again at 0
	say    string  // of what there is more, or less: a format of the label's value
}

var corruptionSigns = []corruptionSign{
	{metric: invariantsMetric, label: "invariant", worse: 1, say: "violations of the invariant %s"},
	{metric: "pg_stat_database_checksum_failures_total", label: "datname", worse: 1, count: true, say: "pages of the database %s with a wrong checksum"},
	{metric: "pg_row_security_tables", worse: -1, say: "tables with row-level security%s"},
}

// lately is by how much the sign became worse in the last ten minutes.
func (s corruptionSign) lately(databases []string) string {
	series := fmt.Sprintf("%s{target=~%q}", s.metric, strings.Join(databases, "|"))
	switch {
	case s.count:
		return "increase(" + series + "[10m])"
	case s.worse < 0:
		return series + " offset 10m - " + series
	default:
		return series + " - " + series + " offset 10m"
	}
}

// A corruption is one sign that became worse under the rollout.
type corruption struct {
	target, what string
	before, now  float64
	since        time.Time
}

func (c corruption) String() string {
	return fmt.Sprintf("%s: %g %s since %s, %g before", c.target, c.now, c.what, clock(c.since), c.before)
}

func evalDataCorruption(ctx context.Context, gate Gate, scene Scene) (Finding, error) {
	var found []corruption
	var all []collector.Series
	invariants := false
	// What it was before may have been read up to three intervals earlier.
	from := scene.EvidenceFrom().Add(-staleAfter(scene.Interval))
	for _, sign := range corruptionSigns {
		series, err := scene.probed(ctx, Span{From: from, To: scene.Now}, sign.metric, nil, scene.Service.Databases)
		if err != nil {
			return Finding{}, err
		}
		invariants = invariants || sign.metric == invariantsMetric && len(series) > 0
		all = append(all, series...)
		for _, s := range series {
			if c, ok := sign.worsened(s, scene.EvidenceFrom()); ok {
				found = append(found, c)
			}
		}
	}
	f := gate.finding(OK)
	f.Limit, f.Observed, f.N = new(0.0), new(float64(len(found))), float64(len(all))
	f.Since, f.Query, f.Evidence = scene.EvidenceFrom(), gate.query(scene.Service), &Evidence{Method: "compared with before the rollout"}
	f.Required = f.Required && invariants
	f.observed(sinceThen(times(all), scene.EvidenceFrom()), scene)
	gate.weighCorruption(&f, found, scene)
	return f, nil
}

// worsened finds the first reading under the rollout that is worse than the last
// one before it; without one before it the first sets the mark.
func (s corruptionSign) worsened(series collector.Series, started time.Time) (corruption, bool) {
	var mark *collector.Point
	for i := range series.Points {
		p := &series.Points[i]
		switch {
		case mark == nil, p.T <= started.UnixMilli(), s.count && p.V < mark.V:
			mark = p
		case s.worse*(p.V-mark.V) > 0:
			c := corruption{target: series.Labels.Get("target"), before: mark.V, now: p.V, since: time.UnixMilli(p.T)}
			about := ""
			if s.label != "" {
				about = series.Labels.Get(s.label)
			}
			c.what = fmt.Sprintf(s.say, about)
			return c, true
		}
	}
	return corruption{}, false
}

// sinceThen are the moments after a time.
func sinceThen(all []time.Time, then time.Time) []time.Time {
	return slices.DeleteFunc(all, func(t time.Time) bool { return !t.After(then) })
}

// weighCorruption decides what was found. What was wrong stays wrong: that it
// was mended meanwhile, or can no longer be read, excuses nothing.
func (g Gate) weighCorruption(f *Finding, found []corruption, scene Scene) {
	switch {
	case len(found) > 0:
		slices.SortFunc(found, func(a, b corruption) int {
			return cmp.Or(a.since.Compare(b.since), strings.Compare(a.String(), b.String()))
		})
		f.State, f.Since, f.Message = Firing, found[0].since, found[0].String()
		if more := len(found) - 1; more > 0 {
			f.Message += fmt.Sprintf("; and %d more", more)
		}
		f.Scope = map[string]string{"target": found[0].target}
	case !f.Seen:
		f.State, f.Message = NoSeries, "no database was read since the rollout started"
	case scene.Now.Sub(f.LastSeen) > staleAfter(scene.Interval):
		f.State, f.Since = Stale, f.LastSeen.Add(staleAfter(scene.Interval))
		f.Message = "no database was read since " + clock(f.LastSeen)
	default:
		f.Message = fmt.Sprintf("none of %g signs is worse than before the rollout", f.N)
	}
}
