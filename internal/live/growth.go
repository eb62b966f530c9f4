package live

import (
	"runtime"
	"testing"
)

// Growth is by how many bytes the memory in use grows over a thousand cycles. A
// hundred go before, in which what is made once is made.
func Growth(tb testing.TB, cycle func(i int)) int64 {
	tb.Helper()
	for i := range 100 {
		cycle(i)
	}
	before := heap()
	for i := range 1000 {
		cycle(i)
	}
	return heap() - before
}

// heap is how much memory is in use. It is collected twice: what pools keep goes
// with the second time only.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Allocated is how much the program has allocated since it began, also of what is
// in use no more.
func Allocated() (bytes, objects uint64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc, m.Mallocs
}
