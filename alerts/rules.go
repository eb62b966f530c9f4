package alerts

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/model"
)

// runbooks is where the pages stand that alerts link to.
const runbooks = "https://github.com/rollwatch/rollwatch/blob/main/docs/runbooks/"

// The recorded series of a gate on counts: how many there were in its window,
// the share of bad ones, the share it is weighed against, and the evidence that
// it is not luck. Shares stay below 1, where the evidence is undefined.
const (
	recordedTotal = "rollwatch:gate:total"
	recordedBase  = "rollwatch:gate:base"
	recordedRatio = "rollwatch:gate:ratio"
	recordedGuard = "rollwatch:gate:guard_nats"
)

// A ruleFile is a file of Prometheus rules.
type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// Rules renders the gates of the services as a file of Prometheus rules, for
// targets that are scraped at the interval, and what should not be so whether or
// not there is a rollout. They approximate the gates where
// PromQL cannot do what they do: docs/gates.md says how far.
func Rules(services []*Service, cfg Config, interval time.Duration) ([]byte, error) {
	file := ruleFile{Groups: []ruleGroup{}}
	for _, service := range services {
		for _, gate := range Gates(cfg, service) {
			rules, err := gate.rules(service, interval)
			if err != nil {
				return nil, fmt.Errorf("rules of service %s, gate %s: %w", service.Name, gate.Name, err)
			}
			group := ruleGroup{Name: "rollwatch/" + service.Name + "/" + gate.Name, Rules: rules}
			file.Groups = append(file.Groups, group)
		}
		file.Groups = append(file.Groups, standing(service)...)
	}
	text, err := yaml.MarshalWithOptions(file, yaml.UseLiteralStyleIfMultiline(true), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("write the rules: %w", err)
	}
	return append([]byte("# Rendered by `rollwatch rules`, for targets scraped every "+short(interval)+".\n"), text...), nil
}

// rules are the rules of one gate: at most one alert, and what it records.
func (g Gate) rules(service *Service, interval time.Duration) ([]rule, error) {
	if g.Custom != nil {
		return []rule{g.alert(service, fmt.Sprintf("(%s) %s %s", g.Custom.Signal, g.Custom.sign(), number(g.Limit)), g.For)}, nil
	}
	if g.Count != nil {
		return g.countRules(service, interval)
	}
	return []rule{g.alert(service, g.alertQL(g, service), g.For)}, nil
}

// countRules record the ratio and the guard of a gate on counts, and ask for
// both and for each span.
func (g Gate) countRules(service *Service, interval time.Duration) ([]rule, error) {
	m, err := service.meter()
	if err != nil {
		return nil, err
	}
	parts := g.promQL(service, m)
	k := spansOf(g.For, interval)
	width := g.For / time.Duration(k)
	own := fmt.Sprintf("{gate=%q,service=%q}", g.Name, service.Name)
	labels := map[string]string{"gate": g.Name, "service": service.Name}

	n, q, p := recordedTotal+own, recordedRatio+own, recordedBase+own
	base := fmt.Sprintf("clamp(max(%s) or vector(%s), 1e-9, 1 - 1e-9)", parts.baseline, number(g.Limit/2))

	against := func(p string) string {
		return fmt.Sprintf("%[1]s * (\n  (%[2]s > %[3]s)\n  * ln(%[2]s / %[3]s)\n  + (1 - %[2]s)\n  * ln((1 - %[2]s) / (1 - %[3]s))\n)", n, q, p)
	}
	expr := []string{q + " > " + number(g.Limit), recordedGuard + own + " >= " + number(guardNeeded)}
	if g.ProvesLimit {
		expr = append(expr, against(number(g.Limit))+" >= "+number(limitNeeded))
	}
	for i := range k {
		span := parts.ratio(width, time.Duration(i)*width)
		expr = append(expr, fmt.Sprintf("on () (\n%s\n) > %s", indent(span), number(g.Limit)))
	}
	return []rule{
		{Record: recordedTotal, Expr: parts.total(g.For, 0), Labels: labels},
		{Record: recordedRatio, Expr: "clamp_max(\n" + indent(parts.ratio(g.For, 0)) + ",\n  1 - 1e-9\n)", Labels: labels},
		{Record: recordedBase, Expr: base, Labels: labels},
		{Record: recordedGuard, Expr: against(p), Labels: labels},
		g.alert(service, strings.Join(expr, "\nand "), 0),
	}, nil
}

// A countQL writes in PromQL what a gate looks at.
type countQL struct {
	total    func(window, offset time.Duration) string // how many there were
	ratio    func(window, offset time.Duration) string // the share of bad ones
	baseline string                                    // the series of its baseline
}

// promQL writes what the gate counts.
func (g Gate) promQL(service *Service, m meter) countQL {
	if g.From == fromBuckets {
		all := selectorOf(m.buckets)
		slow := func(window, offset time.Duration) string {
			return fmt.Sprintf("1 - sum(\n  sum by (le) (increase(%s%s))\n  and on (le) rollwatch_latency_edge{service=%q}\n)\n/ %s",
				all, ranged(window, offset), service.Name, increase(selectorOf(m.buckets, equal("le", "+Inf")), window, offset))
		}
		return countQL{
			total: func(window, offset time.Duration) string {
				return increase(selectorOf(m.buckets, equal("le", "+Inf")), window, offset)
			},
			ratio:    slow,
			baseline: fmt.Sprintf("rollwatch_baseline{service=%q,signal=%q}", service.Name, SignalSlow),
		}
	}
	return countQL{
		total:    func(window, offset time.Duration) string { return increase(selectorOf(m.requests), window, offset) },
		ratio:    m.errorRatio,
		baseline: fmt.Sprintf("rollwatch_baseline{service=%q,signal=%q}", service.Name, SignalErrors),
	}
}

// errorRatio writes the share of requests that were answered with an error. By
// status they are what is left without the good ones: a status that no label
// tells is an error of none.
func (m meter) errorRatio(window, offset time.Duration) string {
	total := increase(selectorOf(m.requests), window, offset)
	if len(m.errors) > 0 {
		return fmt.Sprintf("(%s or vector(0))\n/ %s", increase(selectorOf(m.errors), window, offset), total)
	}
	return fmt.Sprintf("1 - (%s or vector(0))\n/ %s", increase(selectorOf(m.requests, m.good()...), window, offset), total)
}

// alert is the rule that pages.
func (g Gate) alert(service *Service, expr string, hold time.Duration) rule {
	r := rule{
		Alert:  g.AlertName(),
		Expr:   expr,
		Labels: map[string]string{"severity": severity[g.Mode], "service": service.Name, "gate": g.Name},
		Annotations: map[string]string{
			"summary":     g.summary(),
			"description": g.description(service),
			"runbook_url": runbooks + g.AlertName() + ".md",
		},
	}
	if word := asksFor[g.Mode]; word != "" {
		r.Labels["rollwatch"] = word
	}
	if hold > 0 {
		r.For = short(hold)
	}
	return r
}

// asksFor is what a gate asks for of a rollout when it fires, as the label
// `rollwatch` that alerts are routed by.
var asksFor = map[Mode]string{Hold: "hold", Enforce: "rollback"}

// severity is how urgent a gate's alert is.
var severity = map[Mode]string{Observe: "info", Hold: "warning", Enforce: "critical"}

// AlertName is the name of the gate's Prometheus alert and of its runbook. The
// user's own gates share one.
func (g Gate) AlertName() string {
	if g.Custom != nil {
		return "RollwatchCustomGate"
	}
	name := []rune("Rollwatch")
	for part := range strings.SplitSeq(g.Name, "_") {
		first := []rune(part)
		first[0] = unicode.ToUpper(first[0])
		name = append(name, first...)
	}
	return string(name)
}

// summary says in one static sentence what is wrong.
func (g Gate) summary() string {
	if g.Custom != nil {
		return "A custom gate is beyond its limit."
	}
	return g.Summary
}

// description says it with figures.
func (g Gate) description(service *Service) string {
	value := "{{ $value | humanize }}"
	if g.Unit == "ratio" {
		value = "{{ $value | humanizePercentage }}"
	}
	switch {
	case g.Count != nil:
		return fmt.Sprintf("%s of the requests to %s over %s, limit %s, in every part of it and beyond chance.",
			value, service.Name, short(g.For), g.figure(g.Limit))
	case g.Custom != nil:
		return fmt.Sprintf("%s of %s is %s, limit %s %s.", g.Name, service.Name, value, g.Custom.sign(), number(g.Limit))
	case g.impact != "": // one is too many
		return fmt.Sprintf("%s "+g.impact+".", value, service.Name)
	case g.For > 0:
		return fmt.Sprintf("%s has not answered for %s.", service.Name, short(g.For))
	default:
		return fmt.Sprintf("%s %s of %s since its newest rollout started, limit %s.", value, g.Unit, service.Name, number(g.Limit))
	}
}

// increase writes how many a counter counted.
func increase(selector string, window, offset time.Duration) string {
	return "sum(increase(" + selector + ranged(window, offset) + "))"
}

func ranged(window, offset time.Duration) string {
	text := "[" + model.Duration(window).String() + "]"
	if offset > 0 {
		text += " offset " + model.Duration(offset).String()
	}
	return text
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }
