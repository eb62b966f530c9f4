// Package probes lists the kinds of probes. It is the one place where a kind is
// named: configuration, schedule, exposition, documentation and tests range
// over Kinds. Adding a kind is a package and a line here.
package probes

import (
	"time"

	"github.com/rollwatch/rollwatch/probes/asynq"
	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/feature"
	"github.com/rollwatch/rollwatch/probes/flags"
	"github.com/rollwatch/rollwatch/probes/http"
	"github.com/rollwatch/rollwatch/probes/pgbouncer"
	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// A Kind is one kind of target that can be read.
type Kind struct {
	Name string // the label kind, and the first half of a target's key in the health document

	// Section is the key of the configuration file whose entries are of this
	// kind. A section that holds several kinds tells them apart by an entry's
	// key `kind`, whose value is Selector. The kinds http and feature have no
	// section: their targets are the services' health endpoints and features.
	Section  string
	Selector string

	Timeout time.Duration   // deadline of one Read, unless the configuration sets one
	Metrics []*probe.Metric // every metric its Readings may hold

	// Up, if there is one, is the established name for "the last Read succeeded".
	// A probe that cannot read has no Reading, so the collector sets Up for each
	// target of the kind: 1 after a Read that succeeded and 0 after one that
	// failed, with no labels but target. It is not in Metrics.
	Up *probe.Metric

	New func() probe.Config // an entry with its defaults, to decode into
}

// Kinds are all kinds of probes, in the order in which they are shown.
var Kinds = []Kind{
	{
		Name: "postgres", Section: "postgres", Timeout: 3 * time.Second,
		Metrics: postgres.Metrics, Up: postgres.Up,
		New: func() probe.Config { return &postgres.Config{Required: new(true)} },
	},
	{
		Name: "pgbouncer", Section: "pgbouncer", Timeout: 3 * time.Second,
		Metrics: pgbouncer.Metrics, Up: pgbouncer.Up,
		New: func() probe.Config { return &pgbouncer.Config{Required: new(true)} },
	},
	{
		Name: "redis", Section: "redis", Timeout: time.Second,
		Metrics: redis.Metrics, Up: redis.Up,
		New: func() probe.Config { return &redis.Config{Required: new(true)} },
	},
	{
		Name: "bullmq", Section: "queues", Selector: bullmq.Kind, Timeout: 2 * time.Second,
		Metrics: bullmq.Metrics,
		New: func() probe.Config {
			return &bullmq.Config{
				Kind: bullmq.Kind, Prefix: bullmq.DefaultPrefix, MaxFailed: new(bullmq.DefaultMaxFailed), Required: new(true),
			}
		},
	},
	{
		Name: "asynq", Section: "queues", Selector: asynq.Kind, Timeout: 2 * time.Second,
		Metrics: asynq.Metrics,
		New:     func() probe.Config { return &asynq.Config{Kind: asynq.Kind, Required: new(true)} },
	},
	{
		Name: "flags", Section: "flags", Timeout: 2 * time.Second,
		Metrics: flags.Metrics,
		New:     func() probe.Config { return &flags.Config{Required: new(false)} },
	},
	{
		Name: "http", Timeout: 5 * time.Second,
		Metrics: http.Metrics,
		New:     func() probe.Config { return &http.Config{Method: "GET", Required: new(true)} },
	},
	{
		Name: "feature", Timeout: 10 * time.Second,
		Metrics: feature.Metrics,
		New: func() probe.Config {
			return &feature.Config{
				Interval: feature.DefaultInterval, Timeout: feature.DefaultTimeout,
				MaxPerSecond: feature.DefaultMaxPerSecond, Required: new(false),
			}
		},
	},
}
