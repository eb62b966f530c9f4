package alerts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

// A PoolPreset knows what a library calls the gauges of its connection pools.
type PoolPreset struct {
	Name   string
	Help   string
	Series PoolSeries
}

// Pools is the table of libraries whose pools need no selectors.
var Pools = []PoolPreset{
	{
		Name: "prisma", Help: "Prisma's preview feature metrics",
		Series: PoolSeries{Waiting: "prisma_client_queries_wait", Idle: "prisma_pool_connections_idle"},
	},
	{
		Name: "node-postgres", Help: "pg-pool's counts under the names that exporters and services give them",
		Series: PoolSeries{
			Waiting: `{__name__=~"pg_pool_waiting(_count|_clients|_connections|_requests|_queries)?"}`,
			Idle:    `{__name__=~"pg_pool_idle(_count|_clients|_connections)?"}`,
		},
	},
	{
		Name: "hikaricp", Help: "HikariCP by Micrometer, as Spring Boot exports it",
		Series: PoolSeries{Waiting: "hikaricp_connections_pending", Busy: "hikaricp_connections_active", Max: "hikaricp_connections_max"},
	},
	{
		Name: "otel", Help: "OpenTelemetry's semantic conventions for database clients",
		Series: PoolSeries{
			Waiting: "db_client_connection_pending_requests",
			Busy:    `{__name__="db_client_connection_count",db_client_connection_state="used"}`, Max: "db_client_connection_max",
		},
	},
}

// poolLabels are those that tell the pools of one instance apart.
var poolLabels = []string{"pool", "pool_name", "db_client_connection_pool_name", "database"}

// The gauges of a pool.
type poolSign int

const (
	poolWaiting poolSign = iota
	poolIdle
	poolBusy
	poolMax
)

// A poolReading is what one scrape said of a pool.
type poolReading struct {
	value [poolMax + 1]float64
	known [poolMax + 1]bool
}

// exhausted says whether somebody waits and nothing is free.
func (r *poolReading) exhausted() bool {
	if !r.known[poolWaiting] || r.value[poolWaiting] <= 0 {
		return false
	}
	if r.known[poolIdle] {
		return r.value[poolIdle] <= 0
	}
	return r.known[poolBusy] && r.known[poolMax] && r.value[poolMax] > 0 && r.value[poolBusy] >= r.value[poolMax]
}

// A pool is what was read of one pool of one instance.
type pool struct {
	labels   labels.Labels // of any of its series
	instance string
	name     string // "" where an instance has but one
	readings map[int64]*poolReading
}

func (p *pool) String() string {
	if p.name == "" {
		return "the pool of " + p.instance
	}
	return "the pool " + p.name + " of " + p.instance
}

// newest is when the pool was read last.
func (p *pool) newest() time.Time {
	return time.UnixMilli(slices.Max(slices.Collect(maps.Keys(p.readings))))
}

// drySince is the first of the readings up to a time that all show the pool
// exhausted, zero when the newest of them does not. Nobody knows what was between
// two that are too far apart.
func (p *pool) drySince(until time.Time, interval time.Duration) time.Time {
	var since time.Time
	for _, ms := range slices.Backward(slices.Sorted(maps.Keys(p.readings))) {
		at := time.UnixMilli(ms)
		if at.After(until) {
			continue
		}
		if !p.readings[ms].exhausted() || !since.IsZero() && since.Sub(at) > staleAfter(interval) {
			break
		}
		since = at
	}
	return since
}

// isZero says whether no series of one's own are named.
func (s PoolSeries) isZero() bool { return s == PoolSeries{} }

// selectors are what is named, by sign.
func (s PoolSeries) selectors() [poolMax + 1]string {
	return [...]string{poolWaiting: s.Waiting, poolIdle: s.Idle, poolBusy: s.Busy, poolMax: s.Max}
}

// readPools reads the pools of the service's instances; pools of whom nobody says
// whether somebody waits are none.
func readPools(ctx context.Context, scene Scene, span Span) ([]*pool, error) {
	known := map[string]*pool{}
	presets := Pools
	if own := scene.Service.Pool; !own.isZero() {
		presets = []PoolPreset{{Series: own}}
	}
	for _, preset := range presets {
		for sign, text := range preset.Series.selectors() {
			if text == "" {
				continue
			}
			matchers, err := scene.Service.selector(text, "")
			if err != nil {
				return nil, err
			}
			series, err := scene.Window.Select(ctx, span.From, span.To, matchers...)
			if err != nil {
				return nil, fmt.Errorf("select %s: %w", text, err)
			}
			for _, s := range series {
				poolOf(known, preset.Name, s.Labels).add(poolSign(sign), s)
			}
		}
	}
	maps.DeleteFunc(known, func(_ string, p *pool) bool {
		for _, r := range p.readings {
			if r.known[poolWaiting] {
				return false
			}
		}
		return true
	})
	pools := make([]*pool, 0, len(known))
	for _, key := range slices.Sorted(maps.Keys(known)) {
		pools = append(pools, known[key])
	}
	return pools, nil
}

// poolOf finds the pool that a series is of.
func poolOf(known map[string]*pool, preset string, l labels.Labels) *pool {
	var names []string
	for _, label := range poolLabels {
		if name := l.Get(label); name != "" {
			names = append(names, name)
		}
	}
	p := &pool{labels: l, instance: l.Get(model.InstanceLabel), name: strings.Join(names, "/"), readings: map[int64]*poolReading{}}
	key := strings.Join([]string{preset, p.instance, p.name}, "\xff")
	if known[key] == nil {
		known[key] = p
	}
	return known[key]
}

// add takes a series; what several say of one sign is added up.
func (p *pool) add(sign poolSign, s collector.Series) {
	for _, point := range s.Points {
		r := p.readings[point.T]
		if r == nil {
			r = &poolReading{}
			p.readings[point.T] = r
		}
		r.known[sign] = true
		r.value[sign] += point.V
	}
}
