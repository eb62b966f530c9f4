package collector

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// memoryNet is a network in memory: its connections block as synctest knows it.
type memoryNet struct {
	mu    sync.Mutex
	hosts map[string]chan net.Conn
}

func (n *memoryNet) listen(address string) *memoryListener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		n.hosts = map[string]chan net.Conn{}
	}
	n.hosts[address] = make(chan net.Conn)
	return &memoryListener{net: n, address: address, conns: n.hosts[address], closed: make(chan struct{})}
}

func (n *memoryNet) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	conns, ok := n.hosts[address]
	n.mu.Unlock()
	if !ok {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type memoryListener struct {
	net     *memoryNet
	address string
	conns   chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		delete(l.net.hosts, l.address)
		close(l.closed)
	})
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.TCPAddr{} }

// start serves a page on the network until the returned function is called.
func (n *memoryNet) start(address string, page http.Handler) (stop func()) {
	server := &http.Server{Handler: page, ReadHeaderTimeout: time.Second}
	listener := n.listen(address)
	go func() { _ = server.Serve(listener) }()
	return func() { _ = server.Close() }
}

// scraping runs a scraper on a real window for the story.
func scraping(t *testing.T, story func(t *testing.T, s *Scraper, w *Store, n *memoryNet)) {
	t.Helper()
	scrapingWith(t, zap.NewNop(), story)
}

func scrapingWith(t *testing.T, log *zap.Logger, story func(t *testing.T, s *Scraper, w *Store, n *memoryNet)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		network := &memoryNet{}
		window, err := Open(dir, DefaultConfig(), zap.NewNop())
		require.NoError(t, err)
		s, err := NewScraper(window, ScrapeOptions{Interval: 15 * time.Second, Samples: 100, Dial: network.dial}, log)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		story(t, s, window, network)
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, window.Close())
	})
}

func text(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintln(w, body)
	})
}

func last(tb testing.TB, w Window, matchers ...*labels.Matcher) map[string]float64 {
	tb.Helper()
	series, err := w.Select(tb.Context(), time.Now().Add(-16*time.Second), time.Now(), matchers...)
	require.NoError(tb, err)
	out := map[string]float64{}
	for _, s := range series {
		out[s.Labels.String()] = s.Points[len(s.Points)-1].V
	}
	return out
}

func TestScraperLabelsWhatItReads(t *testing.T) {
	scraping(t, func(t *testing.T, s *Scraper, w *Store, n *memoryNet) {
		var agent, auth string
		defer n.start("api:3001", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			agent = r.UserAgent()
			_, auth, _ = r.BasicAuth()
			text(`requests_total{code="200",job="mine",track="lies"} 7 1000`).ServeHTTP(w, r)
		}))()
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"api": {
			{URL: "http://me:secret@api:3001/metrics", Labels: map[string]string{"track": "canary"}}, {URL: ""},
		}}))
		time.Sleep(16 * time.Second)
		require.Equal(t, map[string]float64{
			`{__name__="requests_total", code="200", exported_job="mine", exported_track="lies", instance="api:3001", job="api", track="canary"}`: 7,
		}, last(t, w, named("requests_total")), "at our time, though the page names another")
		require.Equal(t, map[string]float64{`{__name__="up", instance="api:3001", job="api", track="canary"}`: 1}, last(t, w, named("up")))
		require.Equal(t, "rollwatch", agent)
		require.Equal(t, "secret", auth)
	})
}

func TestScrapedCountersAreCountedThroughRestartsAndOutages(t *testing.T) {
	scraping(t, func(t *testing.T, s *Scraper, w *Store, n *memoryNet) {
		pod := func(started time.Time) (*prometheus.CounterVec, http.Handler) {
			reg := prometheus.NewRegistry()
			c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total"}, []string{"code"})
			reg.MustRegister(c, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "process_start_time_seconds"}, func() float64 { return seconds(started) }))
			return c, promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
		}
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"api": {{URL: "http://api:80/metrics"}}}))
		begin := time.Now()
		requests, handler := pod(begin.Add(-time.Hour))
		stop := n.start("api:80", handler)
		requests.WithLabelValues("200").Add(1000) // before anybody looked
		time.Sleep(31 * time.Second)
		requests.WithLabelValues("200").Add(5)
		requests.WithLabelValues("500").Add(3) // newborn errors
		time.Sleep(15 * time.Second)
		stop()
		time.Sleep(15 * time.Second)
		require.Equal(t, []float64{0}, values(t, w, "up", time.Now()))
		require.Empty(t, values(t, w, "requests_total", time.Now()), "a service that is gone has no last value")

		requests, handler = pod(time.Now())
		requests.WithLabelValues("200").Add(8)
		defer n.start("api:80", handler)()
		time.Sleep(15 * time.Second)
		requests.WithLabelValues("500").Add(4)
		time.Sleep(15 * time.Second)

		read := func(name string) []Series {
			series, err := w.Select(t.Context(), begin, time.Now(), named(name))
			require.NoError(t, err)
			return series
		}
		counted := read("requests_total")
		counter := NewCounter(15 * time.Second)
		counter.Observe(read("up"), read("process_start_time_seconds"), counted)
		sums := map[string]float64{}
		for _, s := range counted {
			for d := range counter.Deltas(s) {
				sums[s.Labels.Get("code")] += d.N
			}
		}
		require.Equal(t, map[string]float64{"200": 5 + 8, "500": 3 + 4}, sums, "four errors of the new process are four, though there had been three")
	})
}

func TestScraperIsBounded(t *testing.T) {
	scraping(t, func(t *testing.T, s *Scraper, w *Store, n *memoryNet) {
		var flood strings.Builder
		for i := range 101 {
			fmt.Fprintf(&flood, "x{i=\"%d\"} 1\n", i)
		}
		defer n.start("flood:80", text(flood.String()))()
		hanging := n.listen("hanging:80") // takes the connection and never answers
		defer hanging.Close()
		var held []net.Conn
		go func() {
			for {
				conn, err := hanging.Accept()
				if err != nil {
					return
				}
				held = append(held, conn)
			}
		}()
		defer n.start("well:80", text("x 1"))()
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{
			"flood": {{URL: "http://flood"}}, "hanging": {{URL: "http://hanging"}}, "well": {{URL: "http://well"}},
		}))
		time.Sleep(45 * time.Second)
		require.Equal(t, map[string]float64{
			`{__name__="up", instance="flood:80", job="flood"}`:     0,
			`{__name__="up", instance="hanging:80", job="hanging"}`: 0,
			`{__name__="up", instance="well:80", job="well"}`:       1,
		}, last(t, w, named("up")))
		require.Len(t, last(t, w, named("x")), 1)
	})
}

// The log says when a service fails and when it recovers, not at every scrape.
func TestTheLogHasALineForEachServiceThatFailsOrRecovers(t *testing.T) {
	core, log := observer.New(zap.InfoLevel)
	scrapingWith(t, zap.New(core), func(t *testing.T, s *Scraper, _ *Store, n *memoryNet) {
		var flood strings.Builder
		for i := range 101 {
			fmt.Fprintf(&flood, "x{i=\"%d\"} 1\n", i)
		}
		stop := n.start("flood:80", text(flood.String()))
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{
			"flood": {{URL: "http://flood/metrics?token=s3cret"}}, "gone": {{URL: "http://me:s3cret@gone/metrics?token=s3cret"}},
		}))
		time.Sleep(5 * time.Minute)
		lines := log.TakeAll()
		require.Len(t, lines, 2)
		reasons := map[any]any{}
		for _, line := range lines {
			reasons[line.ContextMap()["address"]] = line.ContextMap()["error"]
		}
		require.Contains(t, reasons["flood:80"], "sample limit exceeded")
		require.Contains(t, reasons["gone:80"], "connection refused")

		stop()
		defer n.start("flood:80", text("x 1"))()
		time.Sleep(5 * time.Minute)
		lines = log.TakeAll()
		require.Len(t, lines, 1)
		require.Equal(t, "service is scraped again", lines[0].Message)
		require.Equal(t, "flood:80", lines[0].ContextMap()["address"])
		require.NotContains(t, fmt.Sprint(reasons, lines), "s3cret")
	})
}

func TestWhatLastsIsLoggedOnceAnHour(t *testing.T) {
	core, log := observer.New(zap.InfoLevel)
	scrapingWith(t, zap.New(core, zap.AddStacktrace(zap.ErrorLevel)), func(t *testing.T, s *Scraper, _ *Store, n *memoryNet) {
		defer n.start("twice:80", text("x 1\nx 2"))()
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"twice": {{URL: "http://twice"}}}))
		time.Sleep(59 * time.Minute)
		require.Len(t, log.TakeAll(), 1, "samples that the page has twice")
		time.Sleep(time.Hour)
		require.Len(t, log.TakeAll(), 1)
	})
}

func TestAFullDiskIsLoggedOnceAnHourWithoutStack(t *testing.T) {
	core, log := observer.New(zap.InfoLevel)
	scrapingWith(t, zap.New(core, zap.AddStacktrace(zap.ErrorLevel)), func(t *testing.T, s *Scraper, w *Store, n *memoryNet) {
		w.free = func(string) (int64, error) { return 0, nil }
		defer n.start("api:80", text("x 1"))()
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"api": {{URL: "http://api"}}}))
		time.Sleep(30 * time.Minute)
		full := log.FilterMessage("Scrape commit failed").All()
		require.Len(t, full, 1)
		require.Empty(t, full[0].Stack)
	})
}

func TestClassicHistogramsAreKeptBesideNativeOnes(t *testing.T) {
	scraping(t, func(t *testing.T, s *Scraper, w *Store, n *memoryNet) {
		reg := prometheus.NewRegistry()
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "latency_seconds", Buckets: []float64{0.1, 1}, NativeHistogramBucketFactor: 1.1})
		reg.MustRegister(h)
		h.Observe(0.5)
		defer n.start("api:80", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))()
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"api": {{URL: "http://api"}}}))
		time.Sleep(16 * time.Second)
		require.Len(t, last(t, w, named("latency_seconds_bucket")), 3)
		require.Equal(t, []float64{1}, values(t, w, "histogram_count(latency_seconds)", time.Now()))
	})
}

func TestScrapeTargetsAreReplaced(t *testing.T) {
	scraping(t, func(t *testing.T, s *Scraper, w *Store, n *memoryNet) {
		defer n.start("a:80", text("x 1"))()
		defer n.start("b:80", text("x 2"))()
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"a": {{URL: "http://a"}}}))
		time.Sleep(16 * time.Second)
		require.ErrorContains(t, s.Replace(map[string][]ScrapeTarget{Job: {{URL: "http://a"}}}), "cannot be named rollwatch")
		require.ErrorContains(t, s.Replace(map[string][]ScrapeTarget{"a": {{URL: "http://a"}, {URL: "http://a:80"}}}), "a[1]: the same address is scraped twice")
		err := s.Replace(map[string][]ScrapeTarget{"a": {{URL: "http://me:secret@"}}})
		require.ErrorContains(t, err, "not the address")
		require.NotContains(t, err.Error(), "secret")
		require.NoError(t, s.Replace(map[string][]ScrapeTarget{"a": {{URL: "http://a", Labels: map[string]string{"track": "stable"}}}, "b": {{URL: "http://b"}}}))
		time.Sleep(32 * time.Second)
		require.Equal(t, map[string]float64{
			`{__name__="x", instance="a:80", job="a", track="stable"}`: 1,
			`{__name__="x", instance="b:80", job="b"}`:                 2,
		}, last(t, w, named("x")))
	})
}

func TestScrapeTargetNamesItsFaults(t *testing.T) {
	require.Empty(t, ScrapeTarget{URL: "https://api/metrics", Labels: map[string]string{"track": "canary"}}.Validate())
	require.Empty(t, ScrapeTarget{}.Validate(), "an empty one is left out")
	faults := ScrapeTarget{URL: "api:3001/metrics", Labels: map[string]string{"job": "x", "a-b": "y", "__name__": "z"}}.Validate()
	var paths []string
	for _, f := range faults {
		paths = append(paths, f.Path)
	}
	require.Equal(t, []string{"$.url", "$.labels.__name__", "$.labels.a-b", "$.labels.job"}, paths)
}
