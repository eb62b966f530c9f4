package redis

import (
	"math"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestInfoIsUnderstoodLineByLine(t *testing.T) {
	info := ParseInfo("# Server\r\nredis_version:7.0.15\r\nexecutable:/usr/bin/redis:server\r\n\r\n# Memory\r\n" +
		"maxmemory:0\r\nmaxmemory_policy:noeviction\r\nmem_fragmentation_ratio:1.25\r\n" +
		"rdb_last_bgsave_time_sec:-1\r\nrdb_last_bgsave_status:err\r\nmaster_link_status:up\r\n" +
		"db0:keys=12,expires=3,avg_ttl=0\r\nno colon here\r\n:no field\r\nlast:without line end")

	for field, want := range map[string]float64{
		"maxmemory": 0, "mem_fragmentation_ratio": 1.25, "rdb_last_bgsave_status": 0, "master_link_status": 1,
	} {
		got, ok := info.Number(field)
		require.True(t, ok, field)
		require.Equal(t, want, got, field)
	}
	for _, field := range []string{"redis_version", "rdb_last_bgsave_time_sec", "missing", "executable"} {
		_, ok := info.Number(field)
		require.False(t, ok, field)
	}
	require.Equal(t, "/usr/bin/redis:server", info["executable"])
	require.Equal(t, "without line end", info["last"])
	require.Equal(t, map[string]string{"keys": "12", "expires": "3", "avg_ttl": "0"}, info.Fields("db0"))

	safe, ok := info.EvictionSafe()
	require.True(t, ok)
	require.True(t, safe)
	_, ok = Info{}.EvictionSafe()
	require.False(t, ok, "a server that does not say is not unsafe")
}

func TestTwoLinesForOneReplicaAreOneSeries(t *testing.T) {
	info := ParseInfo("connected_slaves:3\nslave0:ip=10.0.0.1,port=6379,state=online,offset=7,lag=0\n" +
		"slave1:ip=10.0.0.1,port=6379,state=online,offset=5,lag=9\nslave2:ip=10.0.0.2,port=6379,state=wait_bgsave,offset=0,lag=0\n")
	samples := replicaSamples(info)
	require.Len(t, samples, 4)
	require.Equal(t, 7.0, samples[0].Value)
}

func FuzzParseInfo(f *testing.F) {
	f.Add("# Server\r\nredis_version:7.0.15\r\nuptime_in_seconds:3\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n")
	f.Add("connected_slaves:99999999999\nslave0:ip=::1,port=1,state=online,offset=NaN,lag=Inf\n")
	f.Add("role:sla\xffve\nused_memory:0x1p-2\nmaxmemory:1e309\ndb0:keys=,=,")
	f.Fuzz(func(t *testing.T, text string) {
		type series struct{ name, labels string }
		seen := map[series]bool{}
		for _, s := range infoSamples(ParseInfo(text)) {
			key := series{name: s.Metric.Name}
			for _, label := range s.Labels {
				if !utf8.ValidString(label) {
					t.Fatalf("%s: label %q is not UTF-8", s.Metric.Name, label)
				}
				key.labels += label + "\x00"
			}
			if seen[key] {
				t.Fatalf("%v twice", key)
			}
			seen[key] = true
			if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || s.Value < 0 {
				t.Fatalf("%v is %v", key, s.Value)
			}
		}
	})
}
