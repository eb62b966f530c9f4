package verdict

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	sqlite "modernc.org/sqlite" // registers itself with database/sql
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Ledger is the durable record: rollouts, stages, overrides, transitions and the
// deliveries owed for them, in one SQLite file. It is safe for concurrent use;
// one daemon at a time may have it open.
type Ledger struct {
	path  string
	write *sql.DB // one connection, whose transactions take the write lock at once
	read  *sql.DB // reads wait for no writer
	file  ledgerFile
}

const (
	// openTimeout bounds opening: checking and migrating a file.
	openTimeout = time.Minute
	readers     = 4
)

// OpenLedger opens the ledger in the file, and makes it if there is none. A file
// that is corrupt or was written by a newer rollwatch is refused untouched.
func OpenLedger(path string) (*Ledger, error) {
	l, err := connect(path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	if err := l.begin(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// connect says how the file is opened, once something is asked of it.
func connect(path string) (*Ledger, error) {
	if err := makePrivate(path); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{path: path}
	var err error
	if l.write, err = sql.Open("sqlite", dsn(path, "_txlock=immediate", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)")); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	l.write.SetMaxOpenConns(1)
	if l.read, err = sql.Open("sqlite", dsn(path, "_pragma=query_only(1)")); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, errors.Join(err, l.write.Close()))
	}
	l.read.SetMaxOpenConns(readers)
	return l, nil
}

// begin opens the file, and prepares it. What it is known again by is taken while it is
// open: until then some file systems number it anew at each look.
func (l *Ledger) begin(ctx context.Context) (err error) {
	if err := l.write.PingContext(ctx); err != nil {
		return l.explain(err)
	}
	if l.file.opened, err = os.Stat(l.path); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	return l.prepare(ctx)
}

// Close gives the file back.
func (l *Ledger) Close() error {
	return errors.Join(l.read.Close(), l.write.Close())
}

// makePrivate makes the file, or takes it from everybody but its owner: a
// ledger holds what is wrong with a company's software. SQLite gives its side
// files the same mode.
func makePrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

// dsn writes the path as a URI, in which no character of it can be taken for a parameter.
func dsn(path string, parameters ...string) string {
	parameters = append([]string{"_pragma=busy_timeout(5000)", "_pragma=foreign_keys(1)"}, parameters...)
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(parameters, "&")
}

// prepare checks the file and brings its schema up to date.
func (l *Ledger) prepare(ctx context.Context) error {
	var verdict string
	if err := l.write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return l.explain(err)
	}
	if verdict != "ok" {
		return l.corrupt(verdict)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, l.write, files,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("ledger migrations: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return l.explain(err)
	}
	if current > target {
		return fmt.Errorf("ledger %s was written by a newer rollwatch (schema %d, this one knows %d): run that version, or restore a backup, or move the file aside to begin a new record", l.path, current, target)
	}
	if _, err := provider.Up(ctx); err != nil {
		return l.explain(err)
	}
	return nil
}

// explain says in words what is wrong with the file. A refusal is no fault of it.
func (l *Ledger) explain(err error) error {
	if refusal, ok := errors.AsType[*Error](err); ok {
		return refusal
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff { // the primary code, without its extension
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return l.corrupt(err.Error())
		case sqlite3.SQLITE_FULL:
			return fmt.Errorf("ledger %s: the disk is full: make room: %w", l.path, err)
		}
	}
	return fmt.Errorf("ledger %s: %w", l.path, err)
}

func (l *Ledger) corrupt(why string) error {
	return fmt.Errorf("ledger %s is damaged (%s): restore a backup, or move the file aside to begin a new record", l.path, why)
}

// transact runs work in one transaction: all of it is on disk afterwards, or none.
func (l *Ledger) transact(ctx context.Context, work func(tx *sql.Tx) error) (err error) {
	defer func() { l.file.note(ctx, err) }()
	if err := l.inPlace(); err != nil {
		return err // what is written into a file that is gone is on no disk tomorrow
	}
	tx, err := l.write.BeginTx(ctx, nil)
	if err != nil {
		return l.explain(err)
	}
	if err := work(tx); err != nil {
		return l.explain(errors.Join(err, tx.Rollback()))
	}
	if err := tx.Commit(); err != nil {
		return l.explain(err)
	}
	return nil
}

// nanos is how times are stored: 0 is no time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromNanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}
