package asynq

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// message is a ServerInfo as Asynq writes it.
func message() []byte {
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
	b = protowire.AppendString(b, "active")
	b = protowire.AppendTag(b, fieldBusy, protowire.VarintType)
	return protowire.AppendVarint(b, 5)
}

func TestAServerIsUnderstood(t *testing.T) {
	info, err := parseServerInfo(message())
	require.NoError(t, err)
	require.Equal(t, 12, info.concurrency)
	require.Equal(t, 5, info.busy)
	require.True(t, info.active)
	require.ElementsMatch(t, []string{"mail", "sync"}, info.queues)

	whole := message()
	_, err = parseServerInfo(whole[:len(whole)-1])
	require.ErrorContains(t, err, "server info")
	info, err = parseServerInfo(nil)
	require.NoError(t, err)
	require.False(t, info.active)
}

func FuzzParseServerInfo(f *testing.F) {
	f.Add(message())
	f.Add([]byte{0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte(strings.Repeat("\x2a\x02\x0a\x00", 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
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
