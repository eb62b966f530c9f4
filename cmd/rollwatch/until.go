package main

import (
	"math"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/verdict"
)

// parseUntil understands --until: a function that says whether a verdict is
// what is waited for.
func parseUntil(text string) (func(verdict.Document) bool, error) {
	mayGoOn := func(d verdict.Document) bool { return d.Verdict == verdict.Continue || d.Verdict == verdict.Promote }
	if phase, ok := strings.CutPrefix(text, "phase:"); ok {
		_, end, ok := phaseSpan(phase)
		if !ok {
			return nil, usage("--until: %q is not a phase; write it as phase:0-5m", phase)
		}
		return func(d verdict.Document) bool {
			start, _, known := phaseSpan(d.Phase)
			return d.Verdict == verdict.Promote || mayGoOn(d) && known && start >= end
		}, nil
	}
	switch text {
	case "promote":
		return func(d verdict.Document) bool { return d.Verdict == verdict.Promote }, nil
	case "advance":
		return mayGoOn, nil
	}
	return nil, usage("--until is promote, advance or phase:NAME, not %q", text)
}

// phaseSpan reads the name of a phase: 0-5m, 5-30m, 30m-2h, or after.
func phaseSpan(name string) (start, end time.Duration, ok bool) {
	if name == verdict.PhaseAfter {
		return math.MaxInt64, math.MaxInt64, true
	}
	from, to, found := strings.Cut(name, "-")
	last, err := model.ParseDuration(to)
	if !found || err != nil {
		return 0, 0, false
	}
	if strings.Trim(from, "0123456789") == "" && from != "0" {
		from += strings.TrimLeft(to, "0123456789") // 5-30m begins at 5m
	}
	first, err := model.ParseDuration(from)
	return time.Duration(first), time.Duration(last), err == nil
}
