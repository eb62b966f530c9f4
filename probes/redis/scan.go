package redis

import (
	"context"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// scanCount is how many keys one step of a scan looks at: 300,000 keys cost 0.2
// s of the server in 301 steps, against 2.6 s in 29,231 steps by default.
const scanCount = 1000

// Scan looks through all keys of the server, or of every master of a cluster,
// and calls take with those of a type that match a pattern, a page at a time; a
// key may come twice.
func Scan(ctx context.Context, client goredis.UniversalClient, pattern, keyType string, take func(keys []string) error) error {
	masters, err := Masters(ctx, client)
	if err != nil {
		return err
	}
	for _, master := range masters {
		for cursor := uint64(0); ; {
			start := time.Now()
			keys, next, err := master.ScanType(ctx, cursor, pattern, scanCount, keyType).Result()
			if err != nil {
				return err
			}
			if err := take(keys); err != nil {
				return err
			}
			if cursor = next; cursor == 0 {
				break
			}
			// As long as a step took, the server is left to others.
			select {
			case <-time.After(time.Since(start)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// EscapeGlob makes text stand for itself in a pattern of Scan.
func EscapeGlob(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(text)
}
