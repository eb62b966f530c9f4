package feature

import "github.com/rollwatch/rollwatch/probes/probe"

// The names that the gate critical_feature reads.
const (
	FailuresMetric    = "rollwatch_feature_failures"
	FailingMetric     = "rollwatch_feature_failing_since_timestamp_seconds"
	LastSuccessMetric = "rollwatch_feature_last_success_timestamp_seconds"
	TenantsMetric     = "rollwatch_feature_tenants"
	UpMetric          = "rollwatch_feature_up"
	OldestMetric      = "rollwatch_feature_oldest_result_seconds"
)

var (
	worksMetric = &probe.Metric{
		Name: UpMetric, Type: probe.Gauge, Labels: []string{"tenant"},
		Help:   "Whether the newest try of the feature worked for the tenant (1) or not (0); of a feature with over 1,000 tenants only those are there for whom it fails.",
		Source: "the tries",
	}
	failuresMetric = &probe.Metric{
		Name: FailuresMetric, Type: probe.Gauge, Labels: []string{"tenant"},
		Help:   "How many tries in a row failed for the tenant; there only while they do.",
		Source: "the tries",
	}
	failingMetric = &probe.Metric{
		Name: FailingMetric, Type: probe.Gauge, Unit: "seconds", Labels: []string{"tenant"},
		Help:   "When the first of the tries that failed in a row for the tenant did, in Unix time; there only while they do.",
		Source: "the tries",
	}
	lastSuccessMetric = &probe.Metric{
		Name: LastSuccessMetric, Type: probe.Gauge, Unit: "seconds", Labels: []string{"tenant"},
		Help:   "When the newest try that worked for the tenant did, in Unix time; there only while the feature fails for it, and only if one is known.",
		Source: "the tries",
	}
	tenantsMetric = &probe.Metric{
		Name: TenantsMetric, Type: probe.Gauge, Labels: []string{"state"},
		Help:   "For how many tenants the feature works, has failed once (suspect), is broken (twice in a row), or is untried since the daemon started.",
		Source: "the tries",
	}
	oldestMetric = &probe.Metric{
		Name: OldestMetric, Type: probe.Gauge, Unit: "seconds",
		Help:   "How long ago the tenant was tried that is untried the longest: how old the knowledge about one tenant may be.",
		Source: "the tries",
	}
	triesMetric = &probe.Metric{
		Name: "rollwatch_feature_tries_total", Type: probe.Counter, Labels: []string{"result"},
		Help:   "Tries that worked, and tries that failed, since the daemon started.",
		Source: "the tries",
	}
	durationMetric = &probe.Metric{
		Name: "rollwatch_feature_duration_seconds", Type: probe.Histogram, Unit: "seconds",
		Help:   "How long tries took that worked, all their steps together.",
		Source: "the tries",
	}
)

// Metrics are all metrics of this probe.
var Metrics = []*probe.Metric{
	worksMetric, failuresMetric, failingMetric, lastSuccessMetric, tenantsMetric, oldestMetric, triesMetric, durationMetric,
}

// edges are the upper bounds of the buckets of durationMetric, in seconds.
var edges = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
