package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/prometheus/scrape"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
)

// repeatAfter is when the log says again what it has said already.
const repeatAfter = time.Hour

// seldom is a log that says the same of the same target once an hour: libraries
// complain at every scrape of what lasts for days.
type seldom struct {
	slog.Handler

	about string // the attributes that all its records have
	said  *saidBefore
}

type saidBefore struct {
	mu sync.Mutex
	at map[string]time.Time // by message and what it is about
}

func newSeldom(log *slog.Logger) *slog.Logger {
	return slog.New(seldom{Handler: log.Handler(), said: newSaidBefore()})
}

func newSaidBefore() *saidBefore { return &saidBefore{at: map[string]time.Time{}} }

// Handle implements slog.Handler.
func (s seldom) Handle(ctx context.Context, record slog.Record) error {
	if s.said.lately(s.about+record.Message, time.Now()) {
		return nil
	}
	return s.Handler.Handle(ctx, record)
}

// WithAttrs implements slog.Handler.
func (s seldom) WithAttrs(attrs []slog.Attr) slog.Handler {
	return seldom{Handler: s.Handler.WithAttrs(attrs), about: s.about + fmt.Sprint(attrs), said: s.said}
}

// WithGroup implements slog.Handler.
func (s seldom) WithGroup(name string) slog.Handler {
	return seldom{Handler: s.Handler.WithGroup(name), about: s.about + name, said: s.said}
}

// lately says whether it was said within repeatAfter, and notes that it is said
// now if not. It forgets what is older, so that targets that come and go cost
// nothing.
func (b *saidBefore) lately(what string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, ok := b.at[what]; ok && now.Sub(at) < repeatAfter {
		return true
	}
	for old, at := range b.at {
		if now.Sub(at) >= repeatAfter {
			delete(b.at, old)
		}
	}
	b.at[what] = now
	return false
}

// A scrapeLog says when a target can be scraped no more, and when it can again.
type scrapeLog struct {
	log     *zap.Logger
	failing map[string]bool // by pool and target
}

// follow logs what has changed since it was called last.
func (l *scrapeLog) follow(pools map[string][]*scrape.Target) {
	failing := map[string]bool{}
	for pool, targets := range pools {
		for _, target := range targets {
			of := target.URL()
			key := pool + " " + of.Host + of.Path // a query may hold a secret: not shown
			about := []zap.Field{zap.String("scrape", pool), zap.String("address", of.Host), zap.String("path", of.Path)}
			switch err := target.LastError(); {
			case target.Health() == scrape.HealthUnknown: // not scraped yet
				failing[key] = l.failing[key]
			case err != nil:
				failing[key] = true
				if !l.failing[key] {
					l.log.Warn("service cannot be scraped, and gates go without its metrics", append(about, zap.Error(withoutURL(err)))...)
				}
			case l.failing[key]:
				l.log.Info("service is scraped again", about...)
			}
		}
	}
	l.failing = failing
}

// withoutURL is err without the address that was asked, which may hold a secret.
func withoutURL(err error) error {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		return asked.Err
	}
	return err
}

// bridge gives a library that wants slog our log, from warnings on: what a
// storage or a scraper does all day is no news to an operator. A stack trace
// would show the library's insides, at every line.
func bridge(log *zap.Logger, name string) *slog.Logger {
	quiet := log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))
	return slog.New(zapslog.NewHandler(quiet.Core(), zapslog.WithName(name), zapslog.AddStacktraceAt(noStack)))
}

// noStack is a level that nothing is logged at.
const noStack = slog.LevelError + 100
