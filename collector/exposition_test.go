package collector

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/probes/bullmq"
	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// large is what is read of 1,000 queues and 100 tables, in shape.
func large() fixed {
	now := time.Now()
	queues := Status{Kind: "bullmq", Name: "jobs", Up: true, Started: now, LastSuccess: now, Interval: time.Hour}
	for _, m := range bullmq.Metrics {
		if m.Type == probe.Histogram {
			continue
		}
		for i := range 1000 {
			labels := make([]string, len(m.Labels))
			for j := range labels {
				labels[j] = fmt.Sprint(m.Labels[j], "-", i)
			}
			if len(labels) == 0 && i > 0 {
				break
			}
			queues.Reading.Samples = append(queues.Reading.Samples, m.Sample(float64(i), labels...))
		}
	}
	tables := Status{Kind: "postgres", Name: "main", Up: true, Started: now, LastSuccess: now, Interval: time.Hour}
	for _, m := range postgres.Metrics {
		if !slices.Contains(m.Labels, "relname") || slices.Contains(m.Labels, "indexrelname") || m.Type == probe.Histogram {
			continue
		}
		for i := range 100 {
			labels := make([]string, len(m.Labels))
			for j := range labels {
				labels[j] = fmt.Sprint(m.Labels[j], "-", i)
			}
			tables.Reading.Samples = append(tables.Reading.Samples, m.Sample(float64(i)/3, labels...))
		}
	}
	return fixed{queues, tables}
}

// The page that is put together of pieces is the page that client_golang writes
// of the same snapshot, series by series, in either text format.
func TestThePieceworkIsTheWholePage(t *testing.T) {
	own := prometheus.NewRegistry()
	own.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "aaa", Help: "First."}), prometheus.NewCounter(prometheus.CounterOpts{Name: "zzz_total", Help: "Last."}))
	source := append(snapshot(), large()...)
	source[3].Name, source[4].Name = "other", "other"
	histogram := probe.NewHistogram(0.1, 1)
	histogram.Observe(0.5)
	source[3].Reading.Samples = append(source[3].Reading.Samples,
		(&probe.Metric{Name: "run_seconds", Type: probe.Histogram, Help: "Runs."}).Distributed(histogram),
		(&probe.Metric{Name: "odd_summary", Type: probe.Summary, Help: "Odd \\ \n help."}).Distributed(probe.Distribution{Count: 3, Sum: 2, Points: []probe.Point{{At: 0.5, Value: 1}}}))
	e := NewExposition(source, own, zap.NewNop())
	for _, accept := range []string{"", "application/openmetrics-text; version=1.0.0"} {
		request := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
		request.Header.Set("Accept", accept)
		answer := httptest.NewRecorder()
		e.ServeHTTP(answer, request)

		var whole bytes.Buffer
		families, err := e.Gatherer().Gather()
		require.NoError(t, err)
		encoder := expfmt.NewEncoder(&whole, formatFor(request.Header))
		for _, family := range families {
			require.NoError(t, encoder.Encode(family))
		}
		if closer, ok := encoder.(expfmt.Closer); ok {
			require.NoError(t, closer.Close())
		}
		require.Equal(t, blocks(whole.String()), blocks(answer.Body.String()), accept)
	}
}

// blocks are the families of a page in their order, the lines of each sorted:
// targets stand one after the other in the one, series by their labels in the other.
func blocks(page string) []string {
	var all []string
	for block := range strings.SplitSeq(page, "# HELP ") {
		lines := strings.Split(block, "\n")
		slices.Sort(lines)
		all = append(all, strings.Join(lines, "\n"))
	}
	return all
}

// changing is a snapshot that a test replaces.
type changing struct{ now fixed }

func (c *changing) Statuses(time.Time) []Status { return c.now }

func TestAPageSaysWhatWasReadLastAndNothingStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &changing{snapshot()}
		e := NewExposition(source, prometheus.NewRegistry(), zap.NewNop())
		page := func() string {
			answer := httptest.NewRecorder()
			e.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
			return answer.Body.String()
		}
		require.Contains(t, page(), "queue_depth{queue=\"mail\",target=\"main\"} 7")
		next := snapshot()
		next[0].Started, next[0].LastSuccess = next[0].Started.Add(time.Second), next[0].LastSuccess.Add(time.Second)
		next[0].Reading.Samples = []probe.Sample{depth.Sample(8, "mail")}
		source.now = next
		require.Contains(t, page(), "queue_depth{queue=\"mail\",target=\"main\"} 8")
		require.NotContains(t, page(), "sms")

		old := slices.Clone(next)
		old[0].Reading = probe.Reading{} // what is not fresh is not in the status
		source.now = old
		require.NotContains(t, page(), "queue_depth")
		source.now = next[1:]
		require.NotContains(t, page(), "target=\"main\"", "a target that was taken away by a reload")

		// A format that nobody asks for any more is not encoded ahead.
		e.ahead(time.Now().Add(time.Minute))
		require.Len(t, e.pages, 1)
		e.ahead(time.Now().Add(wantedFor + time.Minute))
		require.Empty(t, e.pages)
	})
}

// BenchmarkPage serves the page of 1,000 queues and 100 tables, and in turn the
// same bytes from memory: x-memory is the ratio of the medians.
func BenchmarkPage(b *testing.B) {
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) { benchmarkPage(b, encoding) })
	}
}

func benchmarkPage(b *testing.B, encoding string) {
	b.Helper()
	source := &changing{large()}
	e := NewExposition(source, prometheus.NewRegistry(), zap.NewNop())
	page := httptest.NewServer(e)
	defer page.Close()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	get := func(url string) ([]byte, time.Duration) {
		request, err := http.NewRequest(http.MethodGet, url, http.NoBody)
		require.NoError(b, err)
		request.Header.Set("Accept-Encoding", encoding)
		start := time.Now()
		response, err := client.Do(request)
		require.NoError(b, err)
		body, err := io.ReadAll(response.Body)
		took := time.Since(start)
		require.NoError(b, errors.Join(err, response.Body.Close()))
		return body, took
	}
	plain := httptest.NewRecorder()
	e.ServeHTTP(plain, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	fromMemory := httptest.NewServer(gzhttp.GzipHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write(plain.Body.Bytes())
	})))
	defer fromMemory.Close()

	var ours, memory, ahead []time.Duration
	for b.Loop() {
		next := slices.Clone(source.now)
		for i := range next {
			next[i].Started = next[i].Started.Add(time.Second) // a new reading of each
		}
		source.now = next
		start := time.Now()
		e.ahead(start)
		ahead = append(ahead, time.Since(start))
		body, took := get(page.URL)
		ours = append(ours, took)
		same, took := get(fromMemory.URL)
		memory = append(memory, took)
		require.InDelta(b, len(same), len(body), float64(len(same))/100)
	}
	b.ReportMetric(0, "ns/op") // of all together: of no use
	b.ReportMetric(float64(plain.Body.Len())/1e6, "MB")
	b.ReportMetric(median(ours).Seconds()*1000, "ms/page")
	b.ReportMetric(median(memory).Seconds()*1000, "ms/memory")
	b.ReportMetric(float64(median(ours))/float64(median(memory)), "x-memory")
	b.ReportMetric(median(ahead).Seconds()*1000, "ms/encoding")
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
