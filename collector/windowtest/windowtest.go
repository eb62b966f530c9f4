// Package windowtest makes windows for the tests of everything that judges.
package windowtest

import (
	"testing"
	"time"

	"github.com/rollwatch/rollwatch/collector"
)

// New makes a window of series in promtool's notation, by the series:
//
//	windowtest.New(t, 15*time.Second, map[string]string{
//		`http_requests_total{job="api",code="500"}`: "0+0x39 0+16x80",
//	})
//
// The first value of each series stands at Unix time 0, the others follow at
// the interval; "_" is a scrape without the series, "stale" its end. More can
// be added by Append.
func New(tb testing.TB, interval time.Duration, series map[string]string) *collector.Memory {
	tb.Helper()
	var input []collector.InputSeries
	for s, values := range series {
		input = append(input, collector.InputSeries{Series: s, Values: values})
	}
	window, err := collector.ParseMemory(interval, input)
	if err != nil {
		tb.Fatal(err)
	}
	return window
}
