package collector

import (
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/probes"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// The collector's own metrics: how reading itself goes.
var (
	probeUp = &probe.Metric{
		Name: "rollwatch_probe_up", Type: probe.Gauge, Labels: []string{"kind"},
		Help: "Whether the newest read of the target succeeded (1) or failed (0).", Source: "schedule",
	}
	probeDuration = &probe.Metric{
		Name: "rollwatch_probe_duration_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"kind"},
		Help: "How long the newest read of the target took.", Source: "schedule",
	}
	probeLastSuccess = &probe.Metric{
		Name: "rollwatch_probe_last_success_timestamp_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"kind"},
		Help: "When the newest read that succeeded was started, in Unix time.", Source: "schedule",
	}
	probeMissed = &probe.Metric{
		Name: "rollwatch_probe_missed_ticks_total", Type: probe.Counter, Labels: []string{"kind"},
		Help: "Reads that were passed over because the one before was still running.", Source: "schedule",
	}
	seriesDropped = &probe.Metric{
		Name: "rollwatch_series_dropped_total", Type: probe.Counter, Labels: []string{"kind"},
		Help: "Series of the target that were dropped, over its budget or read twice.", Source: "schedule",
	}
	viewState = &probe.Metric{
		Name: "rollwatch_probe_view_state", Type: probe.Gauge, Labels: []string{"kind", "view", "state"},
		Help: "Whether the part of the target is in the state: read, absent, denied or failed. Only the current state is there, as 1.", Source: "schedule",
	}
)

// Metrics describes what the collector says of every target besides what was
// read of it.
var Metrics = []*probe.Metric{probeUp, probeDuration, probeLastSuccess, probeMissed, seriesDropped, viewState}

// samples are everything that is known of a target: how reading goes, and what
// was read as long as it is fresh. The label target comes with the Status.
func samples(s Status) []probe.Sample {
	if s.Started.IsZero() {
		return nil // not read yet: neither up nor down
	}
	up := 0.0
	if s.Up {
		up = 1
	}
	out := slices.Grow([]probe.Sample(nil), len(s.Reading.Samples)+len(s.Reading.Views)+len(Metrics))
	out = append(out,
		probeUp.Sample(up, s.Kind),
		probeDuration.Sample(s.Duration.Seconds(), s.Kind),
		probeMissed.Sample(float64(s.Missed), s.Kind),
		seriesDropped.Sample(float64(s.Dropped), s.Kind),
	)
	if !s.LastSuccess.IsZero() {
		out = append(out, probeLastSuccess.Sample(seconds(s.LastSuccess), s.Kind))
	}
	if m := upMetric(s.Kind); m != nil {
		out = append(out, m.Sample(up))
	}
	for _, v := range s.Reading.Views {
		out = append(out, viewState.Sample(1, s.Kind, v.Name, string(v.State)))
	}
	return append(out, s.Reading.Samples...)
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// upMetric is the established name for "the last Read succeeded", if the kind
// has one.
func upMetric(kind string) *probe.Metric {
	for _, k := range probes.Kinds {
		if k.Name == kind {
			return k.Up
		}
	}
	return nil
}
