package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// print writes the configuration as a file that means the same, with every
// default filled in and secrets masked.
func (c *Config) print(w io.Writer) error {
	out := yaml.MapSlice{
		{Key: "interval", Value: c.Interval},
		{Key: "data_dir", Value: c.DataDir},
	}
	if c.Timeout > 0 {
		out = append(out, yaml.MapItem{Key: "timeout", Value: c.Timeout})
	}
	var sections []string
	entries := map[string][]probe.Config{}
	for _, t := range c.Targets {
		if _, ok := entries[t.Kind.Section]; !ok {
			sections = append(sections, t.Kind.Section)
		}
		entries[t.Kind.Section] = append(entries[t.Kind.Section], t.Config)
	}
	for _, section := range sections {
		out = append(out, yaml.MapItem{Key: section, Value: entries[section]})
	}
	gates := yaml.MapSlice{}
	for _, gate := range alerts.Builtin {
		gates = append(gates, yaml.MapItem{Key: gate.Name, Value: filledTuning(gate, c.Gates.Tuned[gate.Name])})
	}
	if len(c.Gates.Custom) > 0 {
		gates = append(gates, yaml.MapItem{Key: "custom", Value: c.Gates.Custom})
	}
	out = append(out,
		yaml.MapItem{Key: "services", Value: c.Services},
		yaml.MapItem{Key: "judge", Value: c.Judge},
		yaml.MapItem{Key: "gates", Value: gates},
		yaml.MapItem{Key: "webhooks", Value: c.Webhooks},
		yaml.MapItem{Key: "api", Value: c.API},
		yaml.MapItem{Key: "window", Value: c.Window},
	)
	if c.Prometheus != nil {
		out = append(out, yaml.MapItem{Key: "prometheus", Value: c.Prometheus})
	}
	if c.Ledger != nil {
		out = append(out, yaml.MapItem{Key: "ledger", Value: c.Ledger})
	}
	text, err := yaml.MarshalWithOptions(out, yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	// What looks like a variable was not one, or has become its value.
	_, err = w.Write(bytes.ReplaceAll(text, []byte("${"), []byte("$${")))
	return err
}

// filledTuning is the tuning of a gate with its defaults where the file says nothing.
func filledTuning(gate alerts.Gate, t alerts.Tuning) alerts.Tuning {
	if t.Limit == nil && gate.MaxLimit > 0 {
		t.Limit = &gate.Limit
	}
	if t.For == nil && gate.For > 0 {
		t.For = new(model.Duration(gate.For))
	}
	if t.Factor == nil && gate.Factor > 0 {
		t.Factor = &gate.Factor
	}
	t.Mode = cmp.Or(t.Mode, gate.Mode)
	return t
}
