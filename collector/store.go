package collector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/units"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// The storage panics when it cannot write a chunk, and a judge that holds its
// tongue is better than one that dies.
const (
	// diskReserve is left free on the disk of the window: below it nothing is
	// appended any more.
	diskReserve = 64 * int64(units.MiB)

	// openReserve is what replaying the log may need.
	openReserve = diskReserve / 4
)

var errDiskFull = errors.New("less than 64MiB are left on the disk of the window: nothing is recorded until there is room")

// Store is the embedded Window: a Prometheus TSDB in a folder. It survives a
// restart, also one by kill -9.
type Store struct {
	querier
	db       *tsdb.DB
	dir      string
	free     func(dir string) (int64, error)
	fault    atomic.Pointer[error] // of the newest append, nil when it went well
	failures atomic.Uint64
}

// Open opens the window in dataDir/window, repairing what a crash left behind.
func Open(dataDir string, cfg Config, log *zap.Logger) (*Store, error) {
	return openStore(dataDir, cfg, log, freeBytes)
}

func openStore(dataDir string, cfg Config, log *zap.Logger, free func(dir string) (int64, error)) (*Store, error) {
	dir := filepath.Join(dataDir, "window")
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = time.Duration(cfg.Retention).Milliseconds()
	opts.MaxBytes = int64(cfg.Size)
	// A block may not span much of the retention, or everything would go at once.
	opts.MaxBlockDuration = max(opts.MinBlockDuration, opts.RetentionDuration/10)
	opts.WALCompression = compression.Snappy
	opts.StripeSize = 1 << 9 // for thousands of series, not millions: saves 15 MB
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, explainOpen(dir, err)
	}
	if left, err := free(dir); err == nil && left < openReserve {
		return nil, explainOpen(dir, syscall.ENOSPC)
	}
	if err := setAsideDamaged(dir, log); err != nil {
		return nil, explainOpen(dir, err)
	}
	db, err := tsdb.Open(dir, bridge(log, "window"), nil, opts, nil)
	if err != nil {
		return nil, explainOpen(dir, err)
	}
	return &Store{querier: newQuerier(db), db: db, dir: dir, free: free}, nil
}

// setAsideDamaged renames the blocks that cannot be read: the storage repairs
// its log by itself, but refuses to open for one damaged block of yesterday.
func setAsideDamaged(dir string, log *zap.Logger) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if _, err := ulid.ParseStrict(entry.Name()); err != nil {
			continue // not a block
		}
		path := filepath.Join(dir, entry.Name())
		block, err := tsdb.OpenBlock(nil, path, nil, nil)
		if err == nil {
			err = block.Close()
		}
		if err == nil {
			continue
		}
		log.Warn("a part of the window is damaged and has been set aside: its hours are missing, and the folder may be deleted",
			zap.String("folder", path+".damaged"), zap.Error(err))
		if err := os.Rename(path, path+".damaged"); err != nil {
			return err
		}
	}
	return nil
}

// explainOpen says what to do about a window that does not open.
func explainOpen(dir string, err error) error {
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("open the window: %s is in use by another process: stop it, or set another data_dir: %w", dir, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("open the window: %s cannot be written to: make it a folder of the user rollwatch runs as, or set another data_dir: %w", dir, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("open the window: the disk of %s is full: make room, or set another data_dir: %w", dir, err)
	default:
		return fmt.Errorf("open the window: %s is damaged: move it away (mv %s %s.damaged) and start again; rollwatch then judges by what it reads from now on: %w", dir, dir, dir, err)
	}
}

// Close writes out what is buffered and lets go of the folder. What cannot be
// written is not lost: it stands in the log, which the next Open replays.
func (s *Store) Close() (err error) {
	defer func() {
		if v := recover(); v != nil { // a chunk that could not be written
			err = fmt.Errorf("close the window %s: %v", s.dir, v)
		}
	}()
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close the window %s: %w", s.dir, err)
	}
	return nil
}

// Degraded says why what is read is not being recorded; empty when it is.
func (s *Store) Degraded() string {
	if fault := s.fault.Load(); fault != nil {
		return (*fault).Error()
	}
	return ""
}

// AppenderV2 opens a batch of samples, which Commit records together. It makes
// a Store what the scrape manager appends to.
func (s *Store) AppenderV2(ctx context.Context) storage.AppenderV2 {
	if free, err := s.free(s.dir); err == nil && free < diskReserve {
		return &fullAppender{store: s}
	}
	return &storeAppender{AppenderV2: s.db.AppenderV2(ctx), store: s}
}

// note keeps how the newest append went.
func (s *Store) note(err error) {
	if err == nil {
		s.fault.Store(nil)
		return
	}
	s.failures.Add(1)
	s.fault.Store(&err)
}

// storeAppender notes how each commit went.
type storeAppender struct {
	storage.AppenderV2
	store *Store
}

func (a *storeAppender) Commit() error {
	err := a.AppenderV2.Commit()
	if err != nil {
		err = fmt.Errorf("append to the window %s: %w", a.store.dir, err)
	}
	a.store.note(err)
	return err
}

// freeBytes is what an unprivileged process may still write under dir.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// fullAppender takes samples and drops them: the disk is full.
type fullAppender struct{ store *Store }

func (a *fullAppender) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AppendV2Options) (storage.SeriesRef, error) {
	return 0, nil
}

func (a *fullAppender) Commit() error {
	a.store.note(errDiskFull)
	return errDiskFull
}

func (a *fullAppender) Rollback() error { return nil }

var (
	windowSeries = prometheus.NewDesc("rollwatch_window_series",
		"Series that the window currently holds in memory.", nil, nil)
	windowBytes = prometheus.NewDesc("rollwatch_window_disk_bytes",
		"Size of the window on disk.", nil, nil)
	windowFailures = prometheus.NewDesc("rollwatch_window_append_failures_total",
		"Batches of samples that could not be recorded in the window.", nil, nil)
	windowDegraded = prometheus.NewDesc("rollwatch_window_degraded",
		"Whether the newest batch of samples could not be recorded (1) or could (0).", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{windowSeries, windowBytes, windowFailures, windowDegraded} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	size := s.db.Head().Size()
	for _, block := range s.db.Blocks() {
		size += block.Size()
	}
	degraded := 0.0
	if s.Degraded() != "" {
		degraded = 1
	}
	ch <- prometheus.MustNewConstMetric(windowSeries, prometheus.GaugeValue, float64(s.db.Head().NumSeries()))
	ch <- prometheus.MustNewConstMetric(windowBytes, prometheus.GaugeValue, float64(size))
	ch <- prometheus.MustNewConstMetric(windowFailures, prometheus.CounterValue, float64(s.failures.Load()))
	ch <- prometheus.MustNewConstMetric(windowDegraded, prometheus.GaugeValue, degraded)
}
