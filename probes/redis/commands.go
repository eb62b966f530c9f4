package redis

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// mostCommands bounds the series by command: those that are called most.
const mostCommands = 100

var commandLabels = []string{"cmd"}

const mostCalled = "The hundred commands that are called most."

var (
	commandCalls = &probe.Metric{
		Name: "redis_commands_total", Type: probe.Counter, Labels: commandLabels,
		Help: "Calls of the command.", Source: "INFO commandstats calls", Note: mostCalled,
	}
	commandSeconds = &probe.Metric{
		Name: "redis_commands_duration_seconds_total", Type: probe.Counter, Unit: "seconds", Labels: commandLabels,
		Help: "Time that calls of the command took.", Source: "INFO commandstats usec", Note: mostCalled,
	}
	commandRejected = &probe.Metric{
		Name: "redis_commands_rejected_calls_total", Type: probe.Counter, Labels: commandLabels,
		Help: "Calls of the command that were refused before they were executed.", Source: "INFO commandstats rejected_calls", Note: mostCalled,
	}
	commandFailed = &probe.Metric{
		Name: "redis_commands_failed_calls_total", Type: probe.Counter, Labels: commandLabels,
		Help: "Calls of the command that ended in an error.", Source: "INFO commandstats failed_calls", Note: mostCalled,
	}
	commandPercentiles = &probe.Metric{
		Name: "redis_latency_percentiles_usec", Type: probe.Summary, Unit: "microseconds", Labels: commandLabels,
		Help: "How long calls of the command took, in microseconds, since the start.", Source: "INFO latencystats",
		Note: "In microseconds, as redis_exporter has it. " + mostCalled,
	}
	commandLatency = &probe.Metric{
		Name: "redis_commands_latencies_usec", Type: probe.Histogram, Unit: "microseconds", Labels: commandLabels,
		Help: "How long calls of the command took, in microseconds.", Source: "LATENCY HISTOGRAM; since Redis 7",
		Note: "In microseconds, as redis_exporter has it. " + mostCalled,
	}
	commandMetrics = []*probe.Metric{commandCalls, commandSeconds, commandRejected, commandFailed, commandPercentiles, commandLatency}
)

// A command is what a server tells of one command.
type command struct {
	name                      string
	calls, usec               float64
	rejected, failed          float64
	knowsRejected, knowsFault bool
}

// commandStats are the commands that are called most, by name.
func commandStats(info Info) []command {
	var all []command
	for field := range info {
		name, ok := strings.CutPrefix(field, "cmdstat_")
		if !ok {
			continue
		}
		fields := info.Fields(field)
		c := command{name: name}
		c.calls, ok = number(fields["calls"])
		if !ok {
			continue
		}
		c.usec, _ = number(fields["usec"])
		c.rejected, c.knowsRejected = number(fields["rejected_calls"])
		c.failed, c.knowsFault = number(fields["failed_calls"])
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b command) int { return cmp.Or(cmp.Compare(b.calls, a.calls), strings.Compare(a.name, b.name)) })
	return all[:min(len(all), mostCommands)]
}

// commandSamples are what INFO tells of commands.
func commandSamples(info Info, commands []command) []probe.Sample {
	var samples []probe.Sample
	for _, c := range commands {
		samples = append(samples, commandCalls.Sample(c.calls, c.name), commandSeconds.Sample(c.usec/1e6, c.name))
		if c.knowsRejected {
			samples = append(samples, commandRejected.Sample(c.rejected, c.name))
		}
		if c.knowsFault {
			samples = append(samples, commandFailed.Sample(c.failed, c.name))
		}
		if points := percentiles(info.Fields("latency_percentiles_usec_" + c.name)); len(points) > 0 {
			samples = append(samples, commandPercentiles.Distributed(probe.Distribution{Count: uint64(c.calls), Sum: c.usec, Points: points}, c.name))
		}
	}
	return samples
}

// percentiles understands p50=1.003,p99.9=2.007, which is in microseconds.
func percentiles(fields map[string]string) []probe.Point {
	var points []probe.Point
	for name, text := range fields {
		at, ok := number(strings.TrimPrefix(name, "p"))
		value, known := number(text)
		if ok && known && at <= 100 {
			points = append(points, probe.Point{At: at / 100, Value: value})
		}
	}
	slices.SortFunc(points, func(a, b probe.Point) int { return cmp.Compare(a.At, b.At) })
	return points
}

// latencySamples are the histograms in an answer to LATENCY HISTOGRAM, whose
// sums INFO knows: name, then calls and its number, histogram_usec and pairs of
// an upper bound and how many calls took that long at most.
func latencySamples(answer any, commands []command) []probe.Sample {
	list, _ := answer.([]any)
	found := map[string][]any{}
	for pair := range slices.Chunk(list, 2) {
		if len(pair) == 2 {
			name, _ := pair[0].(string)
			found[strings.ToLower(name)], _ = pair[1].([]any)
		}
	}
	var samples []probe.Sample
	for _, c := range commands {
		if d, ok := histogram(found[c.name]); ok {
			d.Sum = c.usec
			samples = append(samples, commandLatency.Distributed(d, c.name))
		}
	}
	return samples
}

// histogram understands what LATENCY HISTOGRAM says of one command.
func histogram(fields []any) (d probe.Distribution, ok bool) {
	for pair := range slices.Chunk(fields, 2) {
		if len(pair) < 2 {
			return d, false
		}
		switch value := pair[1].(type) {
		case int64:
			if pair[0] == "calls" && value >= 0 {
				d.Count = uint64(value)
			}
		case []any:
			for bucket := range slices.Chunk(value, 2) {
				if len(bucket) < 2 {
					return d, false
				}
				at, isBound := bucket[0].(int64)
				n, isCount := bucket[1].(int64)
				if !isBound || !isCount {
					return d, false
				}
				d.Points = append(d.Points, probe.Point{At: float64(at), Value: float64(n)})
			}
		}
	}
	slices.SortFunc(d.Points, func(a, b probe.Point) int { return cmp.Compare(a.At, b.At) })
	d.Points = slices.CompactFunc(d.Points, func(a, b probe.Point) bool { return a.At == b.At })
	return d, len(d.Points) > 0
}

var (
	slowlogLastID = &probe.Metric{
		Name: "redis_slowlog_last_id", Type: probe.Gauge,
		Help: "Number of the newest entry of the slow log; it rises with each slow command. Absent while the log is empty.", Source: "SLOWLOG GET 1",
		Note: "Absent while the log is empty, where redis_exporter shows 0.",
	}
	slowlogLast = &probe.Metric{
		Name: "redis_last_slow_execution_duration_seconds", Type: probe.Gauge, Unit: "seconds",
		Help: "How long the newest command of the slow log took; absent while the log is empty.", Source: "SLOWLOG GET 1",
		Note: "Absent while the log is empty, where redis_exporter shows 0.",
	}
)

// slowSamples are what the newest entry of the slow log tells: its number, when
// it was, how long it took, and more that is nobody's business here.
func slowSamples(answer any) []probe.Sample {
	entries, _ := answer.([]any)
	if len(entries) == 0 {
		return nil
	}
	entry, _ := entries[0].([]any)
	if len(entry) < 3 {
		return nil
	}
	id, knowsID := entry[0].(int64)
	usec, knowsTime := entry[2].(int64)
	if !knowsID || !knowsTime {
		return nil
	}
	return []probe.Sample{slowlogLastID.Sample(float64(id)), slowlogLast.Sample(float64(usec) / 1e6)}
}

var (
	configMaxmemory = &probe.Metric{
		Name: "redis_config_maxmemory", Type: probe.Gauge, Unit: "bytes",
		Help: "Limit of memory that is configured, in bytes; 0 is no limit.", Source: "CONFIG GET maxmemory",
		Note: "The name is redis_exporter's, though it lacks the unit.",
	}
	configThreads = &probe.Metric{
		Name: "redis_config_io_threads", Type: probe.Gauge,
		Help: "Threads that may read and write.", Source: "CONFIG GET io-threads",
	}
	configBacklog = &probe.Metric{
		Name: "redis_config_repl_backlog_size", Type: probe.Gauge, Unit: "bytes",
		Help: "Size of the backlog that is configured, in bytes.", Source: "CONFIG GET repl-backlog-size",
		Note: "The name is redis_exporter's, though it lacks the unit.",
	}
	configOutput = &probe.Metric{
		Name: "redis_config_client_output_buffer_limit_bytes", Type: probe.Gauge, Unit: "bytes", Labels: []string{"class", "limit"},
		Help: "Size of a client's output buffer at which it is dropped, at once (hard) or after a while (soft); 0 is no limit.", Source: "CONFIG GET client-output-buffer-limit",
	}
	configOutputTime = &probe.Metric{
		Name: "redis_config_client_output_buffer_limit_overcome_seconds", Type: probe.Gauge, Unit: "seconds", Labels: []string{"class", "limit"},
		Help: "How long a client's output buffer may be over its soft limit.", Source: "CONFIG GET client-output-buffer-limit",
	}
	configMetrics = []*probe.Metric{configMaxclients, configMaxmemory, configThreads, configBacklog, configOutput, configOutputTime}

	// configAsked is what CONFIG GET is asked for: before Redis 7 it takes one
	// pattern at a time.
	configAsked = []string{"maxclients", "maxmemory", "io-threads", "repl-backlog-size", "client-output-buffer-limit"}
)

// configSamples are what the server says of its configuration.
func configSamples(config map[string]string) []probe.Sample {
	var samples []probe.Sample
	for name, metric := range map[string]*probe.Metric{
		"maxclients": configMaxclients, "maxmemory": configMaxmemory, "io-threads": configThreads, "repl-backlog-size": configBacklog,
	} {
		if v, ok := number(config[name]); ok {
			samples = append(samples, metric.Sample(v))
		}
	}
	for class := range slices.Chunk(strings.Fields(config["client-output-buffer-limit"]), 4) {
		if len(class) < 4 {
			break
		}
		for i, limit := range []string{"hard", "soft"} {
			if v, err := strconv.ParseFloat(class[1+i], 64); err == nil {
				samples = append(samples, configOutput.Sample(v, class[0], limit))
			}
		}
		if v, err := strconv.ParseFloat(class[3], 64); err == nil {
			samples = append(samples, configOutputTime.Sample(v, class[0], "soft"))
		}
	}
	return samples
}
