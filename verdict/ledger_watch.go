package verdict

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"

	"go.uber.org/zap"
)

// A ledgerFile is what is known of the file itself: SQLite writes on into one that
// was removed under it, and all of that is lost with the process.
type ledgerFile struct {
	opened os.FileInfo // what was at the path when SQLite had opened it

	mu     sync.Mutex
	failed error // how the newest write went wrong; nil: it did not
}

// note keeps how a write went. A refusal is none of the file's, nor is it that the
// one who asked has left.
func (f *ledgerFile) note(ctx context.Context, err error) {
	if _, refused := errors.AsType[*Error](err); refused || err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
}

func (f *ledgerFile) lastFailure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// inPlace fails when another file is at the path, or none.
func (l *Ledger) inPlace() error {
	now, err := os.Stat(l.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("ledger %s was removed while rollwatch runs: nothing is recorded; put the file back, or restart rollwatch to begin a new record", l.path)
	case err != nil:
		return fmt.Errorf("ledger: %w", err)
	case !os.SameFile(now, l.file.opened):
		return fmt.Errorf("ledger %s was replaced while rollwatch runs: nothing is recorded; put the file back, or restart rollwatch to go on with the one that is there", l.path)
	}
	return nil
}

// check says why nothing can be recorded, nil when it can. It writes only after a
// write that failed, to know when that is over.
func (l *Ledger) check(ctx context.Context) error {
	if err := l.inPlace(); err != nil {
		return err
	}
	if l.file.lastFailure() == nil {
		return nil
	}
	return l.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO gone_endpoints (endpoint, address, at) VALUES ('', zeroblob(65536), 0)`)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM gone_endpoints WHERE endpoint = ''`)
		return err
	})
}

// checkLedger notices that nothing can be recorded also while there is nothing to
// record, and tells the log when that begins and when it ends.
func (e *Engine) checkLedger(ctx context.Context) {
	deadline, cancel := context.WithTimeout(ctx, maxWriting)
	defer cancel()
	trouble := ""
	if err := e.opts.Ledger.check(deadline); err != nil {
		if ctx.Err() != nil {
			return
		}
		trouble = err.Error()
	}
	e.mu.Lock()
	before := e.ledgerTrouble
	e.ledgerTrouble = trouble
	e.mu.Unlock()
	switch {
	case trouble == before:
	case trouble != "":
		e.opts.Log.Error("nothing can be recorded", zap.String("cause", trouble))
	default:
		e.opts.Log.Info("everything is recorded again")
	}
}

func (e *Engine) unrecorded() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ledgerTrouble
}
