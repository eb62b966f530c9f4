package asynq

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A serverInfo is what an Asynq server says of itself every few seconds.
type serverInfo struct {
	concurrency int
	busy        int
	active      bool     // it takes tasks
	queues      []string // that it takes them from
}

// The fields of Asynq's message ServerInfo that are read, by number.
const (
	fieldConcurrency = 4
	fieldQueues      = 5 // a map: an entry's key is its field 1
	fieldStatus      = 7
	fieldBusy        = 9
)

// maxCount is the most that is believed of a server's concurrency.
const maxCount = 1 << 20

// parseServerInfo understands the message ServerInfo. Asynq keeps its own
// decoder to itself, but for an Inspector whose list of servers writes.
func parseServerInfo(b []byte) (serverInfo, error) {
	var info serverInfo
	err := eachField(b, func(field int, text []byte, value uint64) error {
		switch field {
		case fieldConcurrency:
			info.concurrency = int(min(value, maxCount))
		case fieldBusy:
			info.busy = int(min(value, maxCount))
		case fieldStatus:
			info.active = string(text) == "active"
		case fieldQueues:
			return eachField(text, func(field int, name []byte, _ uint64) error {
				if field == 1 && validName(string(name)) {
					info.queues = append(info.queues, string(name))
				}
				return nil
			})
		}
		return nil
	})
	return info, err
}

// The fields of Asynq's message SchedulerEntry that are read, and of a Timestamp.
const (
	fieldNext    = 6
	fieldSeconds = 1
)

// parseNext is when the scheduler will enqueue the task of an entry, a message
// SchedulerEntry; zero when it does not say.
func parseNext(b []byte) (time.Time, error) {
	var next time.Time
	err := eachField(b, func(field int, text []byte, _ uint64) error {
		if field != fieldNext {
			return nil
		}
		return eachField(text, func(field int, _ []byte, seconds uint64) error {
			if field == fieldSeconds {
				next = time.Unix(int64(seconds), 0)
			}
			return nil
		})
	})
	return next, err
}

// eachField calls f for each field of a protobuf message: with its bytes, or
// with its number.
func eachField(b []byte, f func(field int, text []byte, value uint64) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("message: %w", protowire.ParseError(n))
		}
		b = b[n:]
		var text []byte
		var value uint64
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("message: %w", protowire.ParseError(n))
		}
		b = b[n:]
		if err := f(int(field), text, value); err != nil {
			return err
		}
	}
	return nil
}
