package asynq

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// message is a ServerInfo as Asynq writes it.
func message(status string) []byte {
	var b []byte
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendString(b, "host-1")
	b = protowire.AppendTag(b, fieldConcurrency, protowire.VarintType)
	b = protowire.AppendVarint(b, 12)
	for name, priority := range map[string]uint64{"mail": 3, "sync": 1} {
		var entry []byte
		entry = protowire.AppendTag(entry, 1, protowire.BytesType)
		entry = protowire.AppendString(entry, name)
		entry = protowire.AppendTag(entry, 2, protowire.VarintType)
		entry = protowire.AppendVarint(entry, priority)
		b = protowire.AppendTag(b, fieldQueues, protowire.BytesType)
		b = protowire.AppendBytes(b, entry)
	}
	b = protowire.AppendTag(b, fieldStatus, protowire.BytesType)
	b = protowire.AppendString(b, status)
	b = protowire.AppendTag(b, fieldBusy, protowire.VarintType)
	return protowire.AppendVarint(b, 5)
}

func TestAServerIsUnderstood(t *testing.T) {
	info, err := parseServerInfo(message("active"))
	require.NoError(t, err)
	require.Equal(t, 12, info.concurrency)
	require.Equal(t, 5, info.busy)
	require.True(t, info.active)
	require.ElementsMatch(t, []string{"mail", "sync"}, info.queues)

	whole := message("active")
	_, err = parseServerInfo(whole[:len(whole)-1])
	require.ErrorContains(t, err, "message")
	info, err = parseServerInfo(nil)
	require.NoError(t, err)
	require.False(t, info.active)
}

func TestAServerThatIsStoppingTakesNoTasks(t *testing.T) {
	server := live.Redis(t)
	soon := time.Now().Add(time.Minute).Unix()
	for i, status := range []string{"active", "active", "stopped"} {
		key := fmt.Sprintf("asynq:servers:{host:%d:id}", i)
		server.Do(t, "set", key, message(status))
		server.Do(t, "zadd", "asynq:servers", soon, key)
	}
	server.Do(t, "sadd", "asynq:queues", "mail", "other")
	r := redistest.Read(t, redistest.Open(t, &Config{Name: "mail", Redis: "main"}, redistest.Links(t, server.URL)))
	require.Equal(t, 3.0, redistest.Value(t, r, "asynq_servers"))
	require.Equal(t, 36.0, redistest.Value(t, r, "asynq_workers"))
	require.Equal(t, 15.0, redistest.Value(t, r, "asynq_workers_busy"))
	require.Equal(t, map[string]int{"mail": 2, "other": 0}, redistest.By(r, "asynq_queue_servers"))

	// One that cannot be understood makes the sum unknown, and nothing else.
	server.Do(t, "set", "asynq:servers:{host:0:id}", "\xff\xff")
	r = redistest.Read(t, redistest.Open(t, &Config{Name: "mail", Redis: "main"}, redistest.Links(t, server.URL)))
	require.NotContains(t, redistest.Names(r), "asynq_servers")
	require.Equal(t, probe.ViewFailed, redistest.States(r)["servers"])
	require.Equal(t, 2.0, redistest.Value(t, r, "asynq_queues"))
}

func FuzzParseServerInfo(f *testing.F) {
	f.Add(message("active"))
	f.Add([]byte{0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte(strings.Repeat("\x2a\x02\x0a\x00", 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseNext(b); err != nil && err.Error() == "" {
			t.Fatal("an error says why")
		}
		info, err := parseServerInfo(b)
		if err != nil {
			return
		}
		if info.concurrency < 0 || info.concurrency > maxCount || info.busy < 0 || info.busy > maxCount {
			t.Fatalf("%+v", info)
		}
		for _, name := range info.queues {
			if name == "" || !utf8.ValidString(name) {
				t.Fatalf("queue %q", name)
			}
		}
	})
}
