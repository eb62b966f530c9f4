package alerts

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// faults gathers what is wrong with a section.
type faults []probe.Fault

func (f *faults) add(path, problem, cure string) {
	*f = append(*f, probe.Fault{Path: path, Problem: problem, Cure: cure})
}

// Validate names what contradicts itself in the service. Its health section
// validates itself; whether queues and databases name targets is for whoever
// knows the targets.
func (s *Service) Validate() []probe.Fault {
	var f faults
	if s.Name == ProbeJob {
		f.add("$.name", "the name rollwatch is taken: it is the job of what rollwatch reads itself", "call the service something else")
	}
	s.validateTenants(&f)
	s.validateRoutes(&f)
	s.validateMetrics(&f)
	s.validateTracks(&f)
	s.validateDetect(&f)
	s.validateWorkers(&f)
	s.validatePool(&f)
	s.validateFeatures(&f)
	return f
}

// validateRoutes names what contradicts itself in how routes are told.
func (s *Service) validateRoutes(f *faults) {
	switch label := s.RouteLabel; {
	case label == "":
	case !model.LegacyValidation.IsValidLabelName(label):
		f.add("$.route_label", fmt.Sprintf("%q is not the name of a label", label), "name a label of the service's own metrics, as in route")
	case !hasMetrics(s):
		f.add("$.route_label", "no metrics are configured that could carry it", "add metrics, or leave it out")
	case label == s.VersionLabel || slices.Contains(s.tenantLabels(), label):
		f.add("$.route_label", label+" tells versions or tenants apart", "name the label that tells routes apart")
	}
}

// validateTenants names what contradicts itself in how tenants are told.
func (s *Service) validateTenants(f *faults) {
	switch labels := s.tenantLabels(); {
	case s.TenantLabel != "" && len(s.TenantLabels) > 0:
		f.add("$.tenant_labels", "tenant_label and tenant_labels are both set", "keep tenant_labels, the hierarchy, or tenant_label alone")
		return
	case len(labels) == 0:
		return
	case !hasMetrics(s):
		key := "$.tenant_label"
		if s.TenantLabel == "" {
			key = "$.tenant_labels"
		}
		f.add(key, "no metrics are configured that could carry it", "add metrics, or leave it out")
	}
	seen := map[string]bool{}
	for i, label := range s.tenantLabels() {
		path := "$.tenant_label"
		if s.TenantLabel == "" {
			path = fmt.Sprintf("$.tenant_labels[%d]", i)
		}
		switch {
		case !model.LegacyValidation.IsValidLabelName(label):
			f.add(path, fmt.Sprintf("%q is not the name of a label", label), "name a label of the service's own metrics, as in tenant")
		case seen[label]:
			f.add(path, fmt.Sprintf("%s is in the hierarchy twice", label), "name each level once, the largest unit first")
		case label == s.VersionLabel:
			f.add(path, label+" is the version_label", "name the label that tells tenants apart")
		case label == model.JobLabel || label == model.InstanceLabel:
			f.add(path, label+" tells the scraped processes apart", "name the label that tells tenants apart")
		}
		seen[label] = true
	}
}

func (s *Service) validateFeatures(f *faults) {
	seen := map[string]bool{}
	for i, feature := range s.Features {
		if seen[feature.Name] {
			f.add(fmt.Sprintf("$.features[%d].name", i), fmt.Sprintf("a second feature named %q", feature.Name), "give each its own name")
		}
		seen[feature.Name] = true
	}
}

func (s *Service) validateTracks(f *faults) {
	before := len(*f)
	for _, track := range slices.Sorted(maps.Keys(s.Tracks)) {
		if track != canaryTrack && track != stableTrack {
			f.add("$.tracks."+track, fmt.Sprintf("track %q is unknown", track), "a service has the tracks canary and stable")
		} else if len(s.Tracks[track]) == 0 {
			f.add("$.tracks."+track, "no label selects the track", "name the labels that its series carry, as in {track: "+track+"}")
		}
	}
	switch {
	case len(*f) > before:
	case len(s.Tracks) == 1:
		f.add("$.tracks", "only one of the two tracks is named", "name canary and stable: the one is judged by the other")
	case len(s.Tracks) == 2 && maps.Equal(s.Tracks[canaryTrack], s.Tracks[stableTrack]):
		f.add("$.tracks", "canary and stable are selected by the same labels", "name the label that tells them apart")
	}
}

func (s *Service) validateMetrics(f *faults) {
	m := s.Metrics
	explicit := m.Requests != "" || m.Errors != "" || m.Latency != ""
	if m.Preset != "" && explicit {
		f.add("$.metrics.preset", "a preset and selectors of one's own are both set", "keep one: the preset, or requests, errors and latency")
	}
	if m.Preset != "" && m.Preset != NoPreset && !slices.ContainsFunc(Presets, func(p Preset) bool { return p.Name == m.Preset }) {
		f.add("$.metrics.preset", fmt.Sprintf("preset %q is unknown", m.Preset), didYouMean(m.Preset, presetNames()))
	}
	if explicit && m.Requests == "" {
		f.add("$.metrics.requests", "missing, while errors or latency are named", "name the counter of requests, as in http_requests_total")
	}
	if m.Requests != "" && m.Errors == "" {
		f.add("$.metrics.errors", "missing, while requests is named", `name the series that count errors, as in http_requests_total{code=~"5.."}`)
	}
	f.selectors("$.metrics.", []named{{"requests", m.Requests}, {"errors", m.Errors}, {"latency", m.Latency}})
}

// validateWorkers names what is wrong with the series of the service's workers.
func (s *Service) validateWorkers(f *faults) {
	if s.Completions == "" && (s.Failures != "" || s.Concurrency != "") {
		f.add("$.completions", "missing, while failures or concurrency are named", "name the counter of completed jobs, as in jobs_completed_total")
	}
	if s.Completions != "" && s.VersionLabel == "" && len(s.Tracks) == 0 {
		f.add("$.completions", "neither tracks nor version_label tell the workers of two versions apart", "name the labels that do, as tracks or as version_label")
	}
	f.selectors("$.", []named{{"completions", s.Completions}, {"failures", s.Failures}, {"concurrency", s.Concurrency}})
}

// validatePool names what is wrong with the series of the service's own pools.
func (s *Service) validatePool(f *faults) {
	p := s.Pool
	if p.isZero() {
		return
	}
	if p.Waiting == "" {
		f.add("$.pool.waiting", "missing", "name the gauge of those who wait for a connection, as in db_pool_waiting")
	}
	if p.Idle == "" && (p.Busy == "" || p.Max == "") {
		f.add("$.pool.idle", "nothing tells when no connection is free", "name idle, or both busy and max")
	}
	f.selectors("$.pool.", []named{{"waiting", p.Waiting}, {"idle", p.Idle}, {"busy", p.Busy}, {"max", p.Max}})
}

// A named is a selector with its key.
type named struct{ key, text string }

// selectors names those that do not parse, or name no metric.
func (f *faults) selectors(path string, all []named) {
	for _, selector := range all {
		if selector.text == "" {
			continue
		}
		if matchers, err := promQL.ParseMetricSelector(selector.text); err != nil {
			f.add(path+selector.key, "not a PromQL selector: "+position(err), `write a metric with labels, as in http_requests_total{code=~"5.."}`)
		} else if nameOf(matchers) == "" {
			f.add(path+selector.key, "the selector names no metric", "begin it with the metric's name")
		}
	}
}

func presetNames() []string {
	var names []string
	for _, p := range Presets {
		names = append(names, p.Name)
	}
	return append(names, NoPreset)
}

// position says where a PromQL expression is wrong.
func position(err error) string {
	var all parser.ParseErrors
	if errors.As(err, &all) && len(all) > 0 {
		where := strings.TrimSuffix(all[0].PositionRange.StartPosInput(all[0].Query, 0), ":")
		return fmt.Sprintf("at %s: %v", where, all[0].Err)
	}
	return err.Error()
}

// Validate names what contradicts itself in the gates.
func (c Config) Validate() []probe.Fault {
	var f faults
	for _, name := range slices.Sorted(maps.Keys(c.Tuned)) {
		i := slices.IndexFunc(Builtin, func(g Gate) bool { return g.Name == name })
		if i < 0 {
			f.add("$."+name, fmt.Sprintf("there is no gate %q", name), didYouMean(name, builtinNames()))
			continue
		}
		c.Tuned[name].validate(Builtin[i], &f)
	}
	seen := map[string]bool{}
	for i := range c.Custom {
		custom, path := &c.Custom[i], fmt.Sprintf("$.custom[%d]", i)
		custom.validate(path, &f)
		if key := custom.Service + "/" + custom.Name; seen[key] {
			f.add(path+".name", fmt.Sprintf("service %s has a gate %q already", custom.Service, custom.Name), "give each gate its own name")
		} else {
			seen[key] = true
		}
	}
	return f
}

// ValidateInterval names the gates whose window holds too few scrapes, when
// targets are read that often.
func (c Config) ValidateInterval(interval time.Duration) []probe.Fault {
	var f faults
	short := func(path string, window time.Duration) {
		if window > 0 && window < 2*interval {
			f.add(path+".for", fmt.Sprintf("%s holds less than two scrapes, one every %s", model.Duration(window), model.Duration(interval)),
				fmt.Sprintf("use %s or more, or a shorter interval", model.Duration(2*interval)))
		}
	}
	for _, gate := range Builtin {
		short("$."+gate.Name, gate.tuned(c.Tuned[gate.Name]).For)
	}
	for i, custom := range c.Custom {
		short(fmt.Sprintf("$.custom[%d]", i), time.Duration(custom.For))
	}
	return f
}

func builtinNames() []string {
	names := make([]string, len(Builtin))
	for i, g := range Builtin {
		names[i] = g.Name
	}
	return names
}

// validate names what a built-in gate cannot be tuned to.
func (t Tuning) validate(gate Gate, f *faults) {
	path := "$." + gate.Name
	switch {
	case t.Limit == nil:
	case gate.MaxLimit == 0:
		f.add(path+".limit", "the limit of "+gate.Name+" is fixed", "leave limit out; `rollwatch gate list` shows what can be tuned")
	case math.IsNaN(*t.Limit) || *t.Limit <= 0 || *t.Limit > gate.MaxLimit || gate.Unit == "ratio" && *t.Limit == 1:
		f.add(path+".limit", fmt.Sprintf("%g is out of range", *t.Limit), gate.limitRange())
	}
	switch {
	case t.For == nil:
	case gate.For == 0:
		f.add(path+".for", gate.Name+" counts from the start of the rollout", "leave `for` out")
	case *t.For <= 0:
		f.add(path+".for", "a window must be longer than nothing", "use a duration, as in "+model.Duration(gate.For).String())
	}
	switch {
	case t.Factor == nil:
	case gate.Factor == 0:
		f.add(path+".factor", gate.Name+" compares with no multiple of the baseline", "leave factor out")
	case !(*t.Factor > 1) || math.IsInf(*t.Factor, 0):
		f.add(path+".factor", fmt.Sprintf("%g would fire on a service that is as it was", *t.Factor), "use more than 1, as in 3")
	}
	if t.RequireDetectable != nil {
		t.validateDetectable(gate, path+".require_detectable", f)
	}
	switch {
	case t.Mode == "", t.Mode == Observe, t.Mode == Hold:
	case t.Mode != Enforce:
		f.add(path+".mode", fmt.Sprintf("mode %q is unknown", t.Mode), "use observe, hold or enforce")
	case gate.Mode == Hold:
		f.add(path+".mode", gate.Name+" compares with no baseline, so it can hold but not roll back", "use hold or observe")
	}
}

// LeastDetectable is the smallest ratio to the baseline that a comparison ever
// says it would find: what is not over 1.5 times as bad is excused.
const LeastDetectable = 1.75

func (t Tuning) validateDetectable(gate Gate, path string, f *faults) {
	switch x := *t.RequireDetectable; {
	case !gate.counts():
		f.add(path, gate.Name+" says of no effect how large it must be to be found", "leave require_detectable out")
	case x != 0 && !(x >= LeastDetectable) || math.IsInf(x, 0):
		f.add(path, fmt.Sprintf("no traffic would prove a version %g times as bad", x), fmt.Sprintf("use %g or more, as in 3, or 0 to require nothing", LeastDetectable))
	case x > 0 && t.Required != nil && !*t.Required:
		f.add(path, "what is not required blocks no promotion", "leave required: false out")
	case x > 0 && t.Mode == Observe:
		f.add(path, "a gate that only observes blocks no promotion", "use mode hold or enforce")
	}
}

// limitRange says what a limit may be.
func (g Gate) limitRange() string {
	if g.Unit == "ratio" {
		return fmt.Sprintf("use a share between 0 and 1, as in %g", g.Limit)
	}
	return fmt.Sprintf("use more than 0 %s, as in %g", g.Unit, g.Limit)
}

// gateName is what a gate may be called: it becomes a label value and a key of
// the verdict.
var gateName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

func (c *Custom) validate(path string, f *faults) {
	if !gateName.MatchString(c.Name) {
		f.add(path+".name", fmt.Sprintf("%q is not a gate's name", c.Name), "use small letters, digits and _, as in checkout_success")
	}
	if slices.Contains(builtinNames(), c.Name) || FiresInGrace(c.Name) {
		f.add(path+".name", fmt.Sprintf("%q is a built-in gate", c.Name), "choose another name")
	}
	if c.Service == "" {
		f.add(path+".service", "missing", "name the service whose rollouts the gate judges")
	}
	c.validateSignal(path, f)
	switch {
	case c.Above != nil && c.Below != nil:
		f.add(path+".below", "above and below are both set", "keep the one that is bad")
	case c.Above == nil && c.Below == nil:
		f.add(path+".above", "no limit", "set above or below")
	case math.IsNaN(c.limit()) || math.IsInf(c.limit(), 0):
		f.add(path, "the limit is not a number", "use a finite number")
	}
	if c.For < 0 {
		f.add(path+".for", "a negative time", "write a duration, as in 5m")
	}
	if c.Verdict != "" && c.Verdict != "rollback" && c.Verdict != "hold" {
		f.add(path+".verdict", fmt.Sprintf("verdict %q is unknown", c.Verdict), "use rollback or hold")
	}
	if !slices.Contains([]Mode{"", Observe, Hold, Enforce}, c.Mode) {
		f.add(path+".mode", fmt.Sprintf("mode %q is unknown", c.Mode), "use observe, hold or enforce")
	}
	if c.Verdict == "hold" && c.Mode == Enforce {
		f.add(path+".mode", "a gate whose verdict is hold enforces nothing", "use mode hold, or verdict rollback")
	}
}

func (c *Custom) validateSignal(path string, f *faults) {
	expr, err := promQL.ParseExpr(c.Signal)
	switch {
	case err != nil:
		f.add(path+".signal", "not PromQL: "+position(err), "try it in Prometheus first")
	case expr.Type() != parser.ValueTypeVector && expr.Type() != parser.ValueTypeScalar:
		f.add(path+".signal", fmt.Sprintf("the signal is a %s", parser.DocumentedType(expr.Type())), "make it one number, as in sum(rate(x[5m]))")
	}
}

// didYouMean names what was probably meant, or everything there is.
func didYouMean(got string, known []string) string {
	best := slices.MinFunc(known, func(a, b string) int {
		return levenshtein.ComputeDistance(got, a) - levenshtein.ComputeDistance(got, b)
	})
	if levenshtein.ComputeDistance(got, best) <= 3 {
		return "did you mean " + best + "?"
	}
	return "use one of " + strings.Join(known, ", ")
}
