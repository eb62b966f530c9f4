package redis

import (
	"context"
	"fmt"
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
	viewSlowlog = "SLOWLOG LEN"
)

// Commands are what the probe asks, as an ACL names it. A refusal costs the
// part it is for and no other. The name of our connection is set once.
var Commands = []string{"ping", "info", "config|get", "slowlog|len", "client|setname"}

// reader is the probe of one server.
type reader struct {
	client *goredis.Client // shared with the probes of the server's queues
}

// Close does nothing: the connection is that of Links.
func (r *reader) Close() error { return nil }

// Read asks for everything in one pipeline, and then times a PING.
func (r *reader) Read(ctx context.Context) (probe.Reading, error) {
	// The connection is taken first, so that neither dialing nor waiting for
	// another probe's turn is counted as the server's latency.
	conn := r.client.Conn()
	defer conn.Close()

	var info *goredis.StringCmd
	var maxclients *goredis.MapStringStringCmd
	var slowlog *goredis.Cmd
	err := Pipelined(ctx, conn, 3, []struct{}{{}}, func(pipe goredis.Pipeliner, _ struct{}) {
		info = pipe.Info(ctx)
		maxclients = pipe.ConfigGet(ctx, "maxclients")
		slowlog = pipe.Do(ctx, "slowlog", "len")
	})
	if err != nil {
		return probe.Reading{}, fmt.Errorf("info: %w", err)
	}
	start := time.Now()
	pong := conn.Ping(ctx).Err()
	took := time.Since(start)
	if pong != nil && (!replied(pong) || unserved(pong)) {
		return probe.Reading{}, fmt.Errorf("ping: %w", pong)
	}

	views := NewViews(viewPing, viewInfo, viewConfig, viewSlowlog)
	var samples []probe.Sample
	if views.Note(viewPing, pong) {
		samples = append(samples, pingSeconds.Sample(took.Seconds()))
	}
	var details map[string]any
	if views.Note(viewInfo, info.Err()) {
		known := ParseInfo(info.Val())
		samples = append(samples, infoSamples(known)...)
		details = infoDetails(known)
	}
	if views.Note(viewConfig, maxclients.Err()) {
		if v, ok := number(maxclients.Val()["maxclients"]); ok {
			samples = append(samples, configMaxclients.Sample(v))
		}
	}
	if n, err := slowlog.Int(); views.Note(viewSlowlog, err) {
		samples = append(samples, slowlogLength.Sample(float64(n)))
	}
	return probe.Reading{Samples: samples, Views: views, Details: details}, nil
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
