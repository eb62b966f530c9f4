package flags

import "github.com/rollwatch/rollwatch/probes/probe"

var byFlag = []string{"flag"}

var (
	info = &probe.Metric{
		Name: "rollwatch_flag_info", Type: probe.Gauge, Labels: []string{"flag", "state", "type"},
		Help: "Always 1; state is on, off, or partial (on for some only: by overrides, a gradual rollout or constraints), " +
			"and type what Unleash calls the flag's type.",
		Source: "GET ff:<flag>; /client/features",
	}
	enabled = &probe.Metric{
		Name: "rollwatch_flag_enabled", Type: probe.Gauge, Labels: byFlag,
		Help:   "Whether the flag is switched on for everybody who has no value of their own; absent where only overrides are there.",
		Source: "GET ff:<flag>; /client/features enabled",
	}
	overrides = &probe.Metric{
		Name: "rollwatch_flag_overrides", Type: probe.Gauge, Labels: []string{"flag", "scope", "value"},
		Help:   "Companies and workspaces (scope) that have a value of their own, on or off.",
		Source: "GET ff:<flag>:company:<id>, ff:<flag>:workspace:<id>",
	}
	changes = &probe.Metric{
		Name: "rollwatch_flag_changes_total", Type: probe.Counter, Labels: byFlag,
		Help:   "Changes of the flag that were seen, overrides included.",
		Source: "two readings that differ",
	}
	changed = &probe.Metric{
		Name: "rollwatch_flag_changed_timestamp_seconds", Type: probe.Gauge, Unit: "seconds", Labels: byFlag,
		Help:   "When the last change of the flag was seen, as a Unix time; absent before the first.",
		Source: "two readings that differ",
	}
	removal = &probe.Metric{
		Name: "rollwatch_flag_expected_removal_timestamp_seconds", Type: probe.Gauge, Unit: "seconds", Labels: byFlag,
		Help:   "When the flag should have been removed, by the registry, as a Unix time.",
		Source: "expectedRemoval in the registry file",
	}
	overdue = &probe.Metric{
		Name: "rollwatch_flag_overdue", Type: probe.Gauge, Labels: byFlag,
		Help:   "Whether a flag that is still there is past its expected removal (1) or not yet (0); absent where no removal is expected.",
		Source: "expectedRemoval in the registry file",
	}
	total = &probe.Metric{
		Name: "rollwatch_flags", Type: probe.Gauge,
		Help: "Flags that are there.", Source: "SCAN ff:*; /client/features",
	}
	unregistered = &probe.Metric{
		Name: "rollwatch_flags_unregistered", Type: probe.Gauge,
		Help: "Flags that are there and that the registry file does not name; absent without one.", Source: "the registry file",
	}
)

// Metrics are all families that the probe reads.
var Metrics = []*probe.Metric{info, enabled, overrides, changes, changed, removal, overdue, total, unregistered}
