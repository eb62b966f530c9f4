package collector

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"go.uber.org/zap"
)

// Past is the embedded Window of another process, as it was when it was opened:
// it takes no lock and changes nothing, so that the daemon it belongs to may run
// on. It is for one caller at a time.
type Past struct {
	querier
	db     *tsdb.DBReadOnly
	reader storage.Querier
}

// OpenPast opens what the window in dataDir/window holds up to a time. The
// storage needs a folder of its own for a while, on the same disk.
func OpenPast(dataDir string, to time.Time, log *zap.Logger) (*Past, error) {
	dir := filepath.Join(dataDir, "window")
	db, err := tsdb.OpenDBReadOnly(dir, dataDir, bridge(log, "window"))
	if err != nil {
		return nil, explainPast(dir, err)
	}
	reader, err := db.Querier(0, to.UnixMilli())
	if err != nil {
		return nil, explainPast(dir, errors.Join(err, db.Close()))
	}
	p := &Past{db: db, reader: reader}
	p.querier = newQuerier(pastStorage{reader})
	return p, nil
}

// explainPast says what to do about a window that cannot be read.
func explainPast(dir string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read the window: there is none in %s: name the data_dir of the daemon: %w", dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("read the window %s: run as the user of the daemon: %w", dir, err)
	}
	return fmt.Errorf("read the window %s: %w", dir, err)
}

// Close lets go of the window.
func (p *Past) Close() error { return errors.Join(p.reader.Close(), p.db.Close()) }

// pastStorage shows one open reader, which covers all there is, to whoever asks
// for one of a shorter time: opening one replays the log.
type pastStorage struct{ reader storage.Querier }

// Querier implements storage.Queryable.
func (s pastStorage) Querier(mint, maxt int64) (storage.Querier, error) {
	return pastQuerier{Querier: s.reader, mint: mint, maxt: maxt}, nil
}

type pastQuerier struct {
	storage.Querier

	mint, maxt int64
}

// Select implements storage.Querier, within the time that was asked for.
func (q pastQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if hints == nil {
		hints = &storage.SelectHints{Start: q.mint, End: q.maxt}
	}
	return q.Querier.Select(ctx, sorted, hints, matchers...)
}

// Close implements storage.Querier: the reader is shared.
func (pastQuerier) Close() error { return nil }
