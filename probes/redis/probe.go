package redis

import (
	"context"
	"fmt"
	"maps"
	"math"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// The parts of a reading.
const (
	viewPing    = "PING"
	viewInfo    = "INFO"
	viewConfig  = "CONFIG GET"
	viewSlowlog = "SLOWLOG"
	viewLatency = "LATENCY HISTOGRAM"
	viewClients = "CLIENT LIST"
)

// Commands are what the probe asks, as an ACL names it. A refusal costs the
// part it is for and no other. The name of our connection is set once.
var Commands = []string{"ping", "info", "config|get", "slowlog|len", "slowlog|get", "latency|histogram", "client|list", "client|setname"}

// reader is the probe of one server.
type reader struct {
	client   *goredis.Client // shared with the probes of the server's queues
	pings    probe.Distribution
	sections []string // of INFO; none where the server does not know "everything"
}

// Close does nothing: the connection is that of Links.
func (r *reader) Close() error { return nil }

// An asked is one reading's commands.
type asked struct {
	info    *goredis.StringCmd
	config  []*goredis.MapStringStringCmd
	length  *goredis.Cmd // of the slow log
	newest  *goredis.Cmd // entry of it
	latency *goredis.Cmd
	clients *goredis.Cmd
}

// Read asks for everything in one pipeline, and then times a PING.
func (r *reader) Read(ctx context.Context) (probe.Reading, error) {
	// The connection is taken first, so that neither dialing nor waiting for
	// another probe's turn is counted as the server's latency.
	conn := r.client.Conn()
	defer conn.Close()

	a, err := ask(ctx, conn, r.sections)
	if err == nil && r.sections != nil && a.info.Err() == nil && ParseInfo(a.info.Val())["redis_version"] == "" {
		r.sections = nil
		a, err = ask(ctx, conn, r.sections)
	}
	if err != nil {
		return probe.Reading{}, fmt.Errorf("info: %w", err)
	}
	start := time.Now()
	pong := conn.Ping(ctx).Err()
	took := time.Since(start)
	if pong != nil && (!replied(pong) || unserved(pong)) {
		return probe.Reading{}, fmt.Errorf("ping: %w", pong)
	}
	views := NewViews(viewPing, viewInfo, viewConfig, viewSlowlog, viewLatency, viewClients)
	var samples []probe.Sample
	if views.Note(viewPing, pong) {
		r.pings.Observe(took.Seconds())
		samples = append(samples, pingSeconds.Distributed(r.pings.Clone()))
	}
	more, details := a.take(views)
	return probe.Reading{Samples: append(samples, more...), Views: views, Details: details}, nil
}

func ask(ctx context.Context, conn Piper, sections []string) (asked, error) {
	var a asked
	err := Pipelined(ctx, conn, 5+len(configAsked), []struct{}{{}}, func(pipe goredis.Pipeliner, _ struct{}) {
		a.info = pipe.Info(ctx, sections...)
		for _, name := range configAsked {
			a.config = append(a.config, pipe.ConfigGet(ctx, name))
		}
		a.length, a.newest = pipe.Do(ctx, "slowlog", "len"), pipe.Do(ctx, "slowlog", "get", 1)
		a.latency = pipe.Do(ctx, "latency", "histogram")
		a.clients = pipe.Do(ctx, "client", "list")
	})
	return a, err
}

// take takes the answers.
func (a asked) take(views Views) (samples []probe.Sample, details map[string]any) {
	var commands []command
	if views.Note(viewInfo, a.info.Err()) {
		info := ParseInfo(a.info.Val())
		commands = commandStats(info)
		samples = append(infoSamples(info), commandSamples(info, commands)...)
		details = infoDetails(info)
	}
	config := map[string]string{}
	for _, answer := range a.config {
		if views.Note(viewConfig, answer.Err()) {
			maps.Copy(config, answer.Val())
		}
	}
	samples = append(samples, configSamples(config)...)
	if n, err := a.length.Int(); views.Note(viewSlowlog, err) {
		samples = append(samples, slowlogLength.Sample(float64(n)))
	}
	if views.Note(viewSlowlog, a.newest.Err()) {
		samples = append(samples, slowSamples(a.newest.Val())...)
	}
	if views.Note(viewLatency, a.latency.Err()) {
		samples = append(samples, latencySamples(a.latency.Val(), commands)...)
	}
	if list, err := a.clients.Text(); views.Note(viewClients, err) {
		samples = append(samples, clientSamples(list)...)
	}
	return samples, details
}

// infoSamples is all that INFO tells.
func infoSamples(info Info) []probe.Sample {
	labels := make([]string, len(instanceInfo.Labels))
	for i, field := range instanceInfo.Labels {
		labels[i] = info[field] // they are named as the fields are
	}
	samples := []probe.Sample{instanceInfo.Sample(1, labels...)}
	for _, f := range infoFields {
		if v, ok := info.Number(f.field); ok {
			samples = append(samples, f.metric.Sample(v*f.factor))
		}
	}
	for _, f := range masterFields {
		if v, ok := info.Number(f.field); ok {
			samples = append(samples, f.metric.Sample(v*f.factor, info["master_host"], info["master_port"]))
		}
	}
	now, knowsNow := info.Number("server_time_usec")
	if uptime, ok := info.Number("uptime_in_seconds"); ok && knowsNow {
		samples = append(samples, startTime.Sample(math.Floor(now/1e6)-uptime))
	}
	return append(append(samples, replicaSamples(info)...), dbSamples(info)...)
}

// replicaSamples is what a master tells of its replicas. Two lines can name the
// same replica, while a connection that broke is still there: the first counts.
func replicaSamples(info Info) []probe.Sample {
	var samples []probe.Sample
	seen := map[[3]string]bool{}
	count, _ := info.Number("connected_slaves")
	for n := range int(min(count, maxReplicas)) {
		replica := info.Fields("slave" + strconv.Itoa(n))
		labels := [3]string{replica["ip"], replica["port"], replica["state"]}
		if seen[labels] {
			continue
		}
		seen[labels] = true
		if v, ok := number(replica["offset"]); ok {
			samples = append(samples, slaveOffset.Sample(v, labels[:]...))
		}
		if v, ok := number(replica["lag"]); ok {
			samples = append(samples, slaveLag.Sample(v, labels[:]...))
		}
	}
	return samples
}

// The most that is believed of a server: Redis itself has 16 databases by
// default, and no master feeds that many replicas.
const (
	maxReplicas  = 128
	maxDatabases = 256
)

// dbSamples is the size of each database that is not empty.
func dbSamples(info Info) []probe.Sample {
	var samples []probe.Sample
	for n := range maxDatabases {
		db := "db" + strconv.Itoa(n)
		if info[db] == "" {
			continue
		}
		fields := info.Fields(db)
		if v, ok := number(fields["keys"]); ok {
			samples = append(samples, dbKeys.Sample(v, db))
		}
		if v, ok := number(fields["expires"]); ok {
			samples = append(samples, dbKeysExpiring.Sample(v, db))
		}
	}
	return samples
}

// infoDetails is what the health document shows of the server.
func infoDetails(info Info) map[string]any {
	details := map[string]any{}
	for field, key := range map[string]string{
		"redis_version": "version", "role": "role", "redis_mode": "mode",
		"maxmemory_policy": "evictionPolicy", "master_link_status": "masterLink",
		"rdb_last_bgsave_status": "lastSnapshot", "aof_last_write_status": "lastAppend",
	} {
		if value := info[field]; value != "" {
			details[key] = value
		}
	}
	return details
}
