package collector

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// counting reads the series of a service from a window, in stretches that end
// at the times, and returns what each counted, by its labels.
func counting(tb testing.TB, w Window, ends ...time.Time) map[string][]Delta {
	tb.Helper()
	c, got, from := NewCounter(15*time.Second), map[string][]Delta{}, time.Unix(-1, 0)
	read := func(to time.Time, name string) []Series {
		series, err := w.Select(tb.Context(), from, to, named(name))
		require.NoError(tb, err)
		return series
	}
	for _, to := range ends {
		counted := read(to, "x")
		c.Observe(read(to, "up"), read(to, "process_start_time_seconds"), counted)
		for _, s := range counted {
			for d := range c.Deltas(s) {
				got[s.Labels.String()] = append(got[s.Labels.String()], d)
			}
		}
		from = to
	}
	return got
}

// short writes differences as begin-at:n, in seconds.
func short(deltas []Delta) string {
	s := ""
	for _, d := range deltas {
		s += fmt.Sprintf(" %g-%g:%g", float64(d.Begin.UnixMilli())/1000, float64(d.At.UnixMilli())/1000, d.N)
	}
	return s
}

func TestCounterCountsRawDifferences(t *testing.T) {
	const x = `x{instance="a"}`
	for name, c := range map[string]struct {
		input []InputSeries
		want  string
	}{
		"the first value only sets the mark": {
			[]InputSeries{{x, "100 103 103 110"}},
			" 0-15:3 15-30:0 30-45:7",
		},
		"lower than before is a reset": {
			[]InputSeries{{x, "100 103 4 6"}},
			" 0-15:3 15-30:4 30-45:2",
		},
		"after a missed scrape the difference falls in the tick that sees it": {
			[]InputSeries{{x, "100 _ _ 110"}},
			" 0-45:10",
		},
		"born on an instance that was scraped before": {
			[]InputSeries{{x, "_ _ 8 9"}, {`up{instance="a"}`, "1 1 1 1"}},
			" 15-30:8 30-45:1",
		},
		"born though one scrape between was missed": {
			[]InputSeries{{x, "_ _ 8 9"}, {`up{instance="a"}`, "1 0 1 1"}},
			" 0-30:8 30-45:1",
		},
		"not born where scrapes failed before": {
			[]InputSeries{{x, "_ _ 8 9"}, {`up{instance="a"}`, "0 0 1 1"}},
			" 30-45:1",
		},
		"not born where the last scrape is too long ago": {
			[]InputSeries{{x, "_ _ _ _ 8 9"}, {`up{instance="a"}`, "1 0 0 0 1 1"}},
			" 60-75:1",
		},
		"born when the process started since": {
			[]InputSeries{{x, "_ _ 8 9"}, {`up{instance="a"}`, "0 0 1 1"}, {`process_start_time_seconds{instance="a"}`, "_ _ 21.5 21.5"}},
			" 21.5-30:8 30-45:1",
		},
		"born when the process started since the last scrape, long ago": {
			[]InputSeries{{x, "_ _ _ _ _ 8"}, {`up{instance="a"}`, "1 0 0 0 0 1"}, {`process_start_time_seconds{instance="a"}`, "_ _ _ _ _ 20"}},
			" 20-75:8",
		},
		"not born when the process is older": {
			[]InputSeries{{x, "_ _ _ _ 8 9"}, {`process_start_time_seconds{instance="a"}`, "_ _ _ _ 20 20"}},
			" 60-75:1",
		},
		"not born when the process's clock runs ahead": {
			[]InputSeries{{x, "_ _ 8 9"}, {`process_start_time_seconds{instance="a"}`, "_ _ 31 31"}},
			" 30-45:1",
		},
		"born on an instance known by another series only": {
			[]InputSeries{{x, "_ _ 8 9"}, {`x{instance="a",code="200"}`, "5 6 7 8"}},
			" 15-30:8 30-45:1",
		},
		"not born by the series of another instance": {
			[]InputSeries{{x, "_ _ 8 9"}, {`x{instance="b"}`, "5 6 7 8"}, {`up{instance="b"}`, "1 1 1 1"}},
			" 30-45:1",
		},
		"another process is a reset though its value is not lower": {
			[]InputSeries{{x, "3 _ 16 17"}, {`process_start_time_seconds{instance="a"}`, "-100 _ 20 20"}},
			" 0-30:16 30-45:1",
		},
		"a start that moves with the clock is no other process": {
			[]InputSeries{{x, "3 5 7"}, {`process_start_time_seconds{instance="a"}`, "-100 -40 -100"}},
			" 0-15:2 15-30:2",
		},
		"a start in the future is another process once at most": {
			[]InputSeries{{x, "3 5 7 9"}, {`process_start_time_seconds{instance="a"}`, "20 20 20 20"}},
			" 0-15:2 15-30:2 30-45:2",
		},
		"what no counter says is passed over": {
			[]InputSeries{{x, "1 NaN -3 Inf 4"}},
			" 0-60:3",
		},
		"it ends and comes back": {
			[]InputSeries{{x, "1 2 stale _ 5"}},
			" 0-15:1 15-60:3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := counting(t, parse(t, c.input...), at(3600))
			require.Equal(t, c.want, short(got[`{__name__="x", instance="a"}`]))
		})
	}
}

func TestSeriesWithoutInstanceAreOfOneInstance(t *testing.T) {
	got := counting(t, parse(t, InputSeries{`x{code="200"}`, "10 20 30"}, InputSeries{`x{code="500"}`, "_ _ 4"}), at(3600))
	require.Equal(t, " 15-30:4", short(got[`{__name__="x", code="500"}`]))
}

// history is what a service really did, and what a scraper saw of it.
type history struct {
	window *Memory
	seen   float64 // what was counted between the first scrape of all and the last
	ends   []time.Time
}

// newHistory lets pods with several series live, restart and be born, under
// scrapes that are late and sometimes fail.
func newHistory(tb testing.TB, seed uint64) history {
	tb.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	h := history{window: NewMemory()}
	for pod := range 1 + rng.IntN(4) {
		value, last, started := map[string]float64{}, map[string]float64{}, int64(-1000)
		mark, failed := true, 0 // before the first good scrape, there is only a mark
		for tick := range 60 {
			ms := int64(tick)*15_000 + rng.Int64N(200)
			if rng.IntN(15) == 0 {
				clear(value)
				clear(last) // what comes is counted whole, be it lower than before or not
				started = ms/1000 - 1
			}
			for _, name := range names {
				if value[name] > 0 || rng.IntN(6) == 0 { // some series are born late
					value[name] += float64(rng.IntN(10))
				}
			}
			pod := fmt.Sprint(pod)
			up := rng.IntN(8) > 0 || failed >= 1 && !mark // not so many fail that a birth cannot be told
			add := func(v float64, kv ...string) {
				require.NoError(tb, h.window.Append(time.UnixMilli(ms), labels.FromStrings(append(kv, "instance", pod)...), v))
			}
			if !up {
				add(0, "__name__", "up")
				failed++
				continue
			}
			add(1, "__name__", "up")
			add(float64(started), "__name__", "process_start_time_seconds")
			for _, name := range names {
				v, ok := value[name]
				if !ok || v == 0 {
					continue
				}
				add(v, "__name__", "x", "series", name)
				switch {
				case mark && started*1000 <= ms-37_500: // an old process, new to us
				default:
					h.seen += v - last[name]
				}
				last[name] = v
			}
			mark, failed = false, 0
		}
	}
	for end := int64(0); end < 60*15_000+1000; end += rng.Int64N(300_000) {
		h.ends = append(h.ends, time.UnixMilli(end))
	}
	h.ends = append(h.ends, time.UnixMilli(2_000_000))
	return h
}

var names = []string{"a", "b", "c"}

func total(counted map[string][]Delta) (sum float64) {
	for _, deltas := range counted {
		for _, d := range deltas {
			sum += d.N
		}
	}
	return sum
}

func TestDifferencesAddUpToWhatWasCounted(t *testing.T) {
	for seed := range uint64(100) {
		h := newHistory(t, seed)
		whole := counting(t, h.window, at(3600))
		require.Equal(t, h.seen, total(whole), "seed %d", seed)
		require.Equal(t, whole, counting(t, h.window, at(3600)), "the same data, the same answer: seed %d", seed)
		require.Equal(t, whole, counting(t, h.window, h.ends...), "however the reads are cut: seed %d", seed)
	}
}

func FuzzDeltas(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x45, 0x40, 2}, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		s := Series{Labels: labels.FromStrings("__name__", "x")}
		var now int64
		for len(data) >= 9 {
			now += 1 + int64(data[8])*100
			v := float64(int64(binary.LittleEndian.Uint64(data))) / 4
			if data[8] == 0 {
				v = 0 / v // NaN where it can be
			}
			s.Points = append(s.Points, Point{T: now, V: v})
			data = data[9:]
		}
		count := func(stretches ...[]Point) (all []Delta) {
			c := NewCounter(time.Second)
			for _, points := range stretches {
				part := Series{Labels: s.Labels, Points: points}
				c.Observe(nil, nil, []Series{part})
				all = slices.AppendSeq(all, c.Deltas(part))
			}
			return all
		}
		whole := count(s.Points)
		for i, d := range whole {
			require.GreaterOrEqual(t, d.N, 0.0)
			require.True(t, d.Begin.Before(d.At))
			if i > 0 {
				require.Equal(t, whole[i-1].At, d.Begin, "one begins where the other ends")
			}
		}
		at := min(int(cut), len(s.Points))
		require.Equal(t, whole, count(s.Points[:at], s.Points[at:]))
		require.Equal(t, whole, count(s.Points, s.Points), "what has been seen counts once")
	})
}

func BenchmarkDeltas(b *testing.B) {
	var series []Series
	for i := range 2000 {
		s := Series{Labels: labels.FromStrings("__name__", "x", "job", "api", "instance", fmt.Sprint(i%10), "series", fmt.Sprint(i))}
		for n := range int64(480) {
			s.Points = append(s.Points, Point{T: n * 15_000, V: float64(n)})
		}
		series = append(series, s)
	}
	for b.Loop() {
		c := NewCounter(15 * time.Second)
		c.Observe(nil, nil, series)
		for _, s := range series {
			for range c.Deltas(s) {
			}
		}
	}
}
