package collector

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/zap"
)

// An Exposition serves /metrics from memory. What was read of the targets is
// most of a page and changes with each reading only, so it is encoded once a
// reading, beside the scrapes; a scrape puts the pieces together.
type Exposition struct {
	source Snapshot
	own    prometheus.Gatherer // what the daemon says of itself, gathered at each scrape
	binary http.Handler        // the protobuf format, which is made whole each time
	text   http.Handler        // the text formats, compressed if the client takes that
	log    *zap.Logger
	said   *saidBefore
	places chan struct{}

	mu    sync.Mutex
	pages map[expfmt.Format]*pieces
}

// Bounds of the serving of pages.
const (
	scrapesAtOnce = 16              // more would be used by impatient scrapers only
	wantedFor     = 5 * time.Minute // how long a format is encoded ahead after it was asked for
	aheadEvery    = time.Second
)

// NewExposition makes the handler of /metrics: of the targets, and of what the
// daemon says of itself.
func NewExposition(source Snapshot, own prometheus.Gatherer, log *zap.Logger) *Exposition {
	e := &Exposition{
		source: source, own: own, log: log, said: newSaidBefore(),
		places: make(chan struct{}, scrapesAtOnce), pages: map[expfmt.Format]*pieces{},
	}
	e.binary = promhttp.HandlerFor(e.Gatherer(), promhttp.HandlerOpts{ErrorLog: pageLog{log, e.said}, ErrorHandling: promhttp.ContinueOnError})
	e.text = gzhttp.GzipHandler(http.HandlerFunc(e.serveText))
	return e
}

// Gatherer is everything that the page holds.
func (e *Exposition) Gatherer() prometheus.Gatherer {
	targets := prometheus.NewRegistry()
	targets.MustRegister(NewCollector(e.source, e.log))
	return prometheus.Gatherers{targets, e.own}
}

// ServeHTTP answers in text, OpenMetrics or protobuf, as the client accepts.
// What cannot be gathered is logged and left out.
func (e *Exposition) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	default:
		http.Error(w, "too many scrapes at once", http.StatusServiceUnavailable)
		return
	}
	switch formatFor(r.Header).FormatType() {
	case expfmt.TypeTextPlain, expfmt.TypeOpenMetrics:
		e.text.ServeHTTP(w, r)
	default:
		e.binary.ServeHTTP(w, r)
	}
}

// formatFor is the format that the client likes best.
func formatFor(header http.Header) expfmt.Format {
	return expfmt.NegotiateAccept(header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
}

// Run encodes ahead of the scrapes until ctx ends.
func (e *Exposition) Run(ctx context.Context) {
	tick := time.NewTicker(aheadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			e.ahead(now)
		}
	}
}

// ahead encodes what has been read since, in the formats that somebody wants.
func (e *Exposition) ahead(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for format, p := range e.pages {
		if now.Sub(p.asked) > wantedFor {
			delete(e.pages, format)
			continue
		}
		p.renew(e.source.Statuses(now), e.warn)
	}
}

func (e *Exposition) warn(err error) {
	pageLog{e.log, e.said}.Println("series that cannot be exposed are left out:", err)
}

func (e *Exposition) serveText(w http.ResponseWriter, r *http.Request) {
	format := formatFor(r.Header)
	families, err := e.own.Gather()
	if err != nil {
		e.warn(err)
	}
	page := e.page(format, families, time.Now())
	w.Header().Set("Content-Type", string(format))
	for _, piece := range page {
		if _, err := w.Write(piece); err != nil {
			pageLog{e.log, e.said}.Println("error sending the page:", err)
			return
		}
	}
}

// page is the pieces of a page in their order, each whole lines.
func (e *Exposition) page(format expfmt.Format, own []*dto.MetricFamily, now time.Time) [][]byte {
	e.mu.Lock()
	p := e.pages[format]
	if p == nil {
		p = &pieces{format: format, of: map[string]*targetPieces{}}
		e.pages[format] = p
	}
	p.asked = now
	p.renew(e.source.Statuses(now), e.warn)
	families := maps.Clone(p.families)
	e.mu.Unlock()

	for _, family := range own {
		piece, err := encode(format, family)
		if err != nil {
			e.warn(err)
			continue
		}
		families[family.GetName()] = append(slices.Clone(families[family.GetName()]), piece)
	}
	var page [][]byte
	for _, name := range slices.Sorted(maps.Keys(families)) {
		for i, piece := range families[name] {
			if i == 0 {
				page = append(page, piece.header)
			}
			page = append(page, piece.lines)
		}
	}
	if format.FormatType() == expfmt.TypeOpenMetrics {
		page = append(page, []byte("# EOF\n"))
	}
	return page
}

// pieces are what was read of all targets, in one format.
type pieces struct {
	format   expfmt.Format
	asked    time.Time
	of       map[string]*targetPieces // by kind and name
	families map[string][]piece       // by name: one of each target
}

// A piece is a family of one target: the lines about it, and its series.
type piece struct{ header, lines []byte }

// targetPieces are those of one target, and of which reading.
type targetPieces struct {
	state    state
	families map[string]piece
}

// state is what a page says of a target besides its reading, which it identifies.
type state struct {
	started, success time.Time
	up, fresh        bool
	missed, dropped  uint64
}

func stateOf(s Status) state {
	return state{s.Started, s.LastSuccess, s.Up, len(s.Reading.Samples) > 0, s.Missed, s.Dropped}
}

// renew encodes the targets of which there is something new.
func (p *pieces) renew(statuses []Status, warn func(error)) {
	changed := p.families == nil || len(statuses) != len(p.of)
	of := make(map[string]*targetPieces, len(statuses))
	for _, s := range statuses {
		key := s.Kind + "\xff" + s.Name
		known := p.of[key]
		if known == nil || known.state != stateOf(s) {
			changed = true
			known = &targetPieces{stateOf(s), p.encodeTarget(s, warn)}
		}
		of[key] = known
	}
	if !changed {
		return
	}
	p.of = of
	p.families = map[string][]piece{}
	for _, key := range slices.Sorted(maps.Keys(of)) {
		for name, piece := range of[key].families {
			p.families[name] = append(p.families[name], piece)
		}
	}
}

// encodeTarget encodes what is known of a target, by family.
func (p *pieces) encodeTarget(s Status, warn func(error)) map[string]piece {
	page := page{families: map[string]family{}, seen: map[string]struct{}{}}
	byName := map[string]*dto.MetricFamily{}
	for _, sample := range samples(s) {
		m, err := page.metric(sample, s.Name)
		if err != nil {
			warn(err)
			continue
		}
		written := &dto.Metric{}
		if err := m.Write(written); err != nil {
			warn(err)
			continue
		}
		name := sample.Metric.Name
		if byName[name] == nil {
			byName[name] = &dto.MetricFamily{Name: &name, Help: &sample.Metric.Help, Type: typeOf(written).Enum()}
		}
		byName[name].Metric = append(byName[name].Metric, written)
	}
	encoded := make(map[string]piece, len(byName))
	for name, family := range byName {
		piece, err := encode(p.format, family)
		if err != nil {
			warn(err)
			continue
		}
		encoded[name] = piece
	}
	return encoded
}

// typeOf is the type of a family, by one of its metrics.
func typeOf(m *dto.Metric) dto.MetricType {
	switch {
	case m.GetCounter() != nil:
		return dto.MetricType_COUNTER
	case m.GetHistogram() != nil:
		return dto.MetricType_HISTOGRAM
	case m.GetSummary() != nil:
		return dto.MetricType_SUMMARY
	case m.GetUntyped() != nil:
		return dto.MetricType_UNTYPED
	default:
		return dto.MetricType_GAUGE
	}
}

// encode writes a family, and tells the lines about it from its series.
func encode(format expfmt.Format, family *dto.MetricFamily) (piece, error) {
	var text bytes.Buffer
	if err := expfmt.NewEncoder(&text, format).Encode(family); err != nil {
		return piece{}, err
	}
	all := text.Bytes()
	end := 0
	for bytes.HasPrefix(all[end:], []byte("# ")) {
		line := bytes.IndexByte(all[end:], '\n')
		if line < 0 {
			return piece{}, io.ErrUnexpectedEOF
		}
		end += line + 1
	}
	return piece{header: all[:end], lines: all[end:]}, nil
}

// A pageLog says once an hour that a page could not be gathered or sent: a
// client that hangs up would cost a line for every family of metrics.
type pageLog struct {
	log  *zap.Logger
	said *saidBefore
}

// Println implements promhttp.Logger. It is given what was tried, then the error.
func (l pageLog) Println(words ...any) {
	if len(words) == 0 || l.said.lately(fmt.Sprint(words[0]), time.Now()) {
		return
	}
	l.log.Warn("a page of /metrics is not whole", zap.String("reason", strings.TrimSpace(fmt.Sprintln(words...))))
}
