package verdict

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// A History is all that is on record of one rollout, each list oldest first.
type History struct {
	Rollout     Rollout
	Overrides   []Override
	Transitions []Transition
	Deliveries  []Delivery // the newest 500
}

// A Transition is a verdict that became another, with the document that was
// served from then on.
type Transition struct {
	Event    string // its id, which webhooks carry
	Type     EventType
	At       time.Time
	Document Document
}

// maxTransitions bounds what is read of one rollout; the newest are kept.
const maxTransitions = 500

// history returns all that is on record of a rollout; NotFound if there is none.
func (l *Ledger) history(ctx context.Context, id string) (History, error) {
	rollout, err := l.rollout(ctx, id)
	if err != nil {
		return History{}, err
	}
	h := History{Rollout: rollout}
	if h.Overrides, err = l.overrides(ctx, id); err != nil {
		return History{}, l.explain(err)
	}
	if h.Transitions, err = l.transitions(ctx, id); err != nil {
		return History{}, l.explain(err)
	}
	h.Deliveries, _, err = selectDeliveries(ctx, l.read, `WHERE d.n IN (SELECT d.n FROM deliveries d JOIN transitions t ON t.event = d.event
		WHERE t.rollout = ? ORDER BY d.n DESC LIMIT ?) ORDER BY d.n`, id, maxPage)
	if err != nil {
		return History{}, l.explain(err)
	}
	return h, nil
}

func (l *Ledger) overrides(ctx context.Context, id string) ([]Override, error) {
	rows, err := l.read.QueryContext(ctx, "SELECT at, until, verdict, reason, author FROM overrides WHERE rollout = ? ORDER BY n", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Override
	for rows.Next() {
		var at, until int64
		var o Override
		if err := rows.Scan(&at, &until, &o.Verdict, &o.Reason, &o.Author); err != nil {
			return nil, err
		}
		o.At, o.Until = fromNanos(at), fromNanos(until)
		found = append(found, o)
	}
	return found, rows.Err()
}

func (l *Ledger) transitions(ctx context.Context, id string) ([]Transition, error) {
	rows, err := l.read.QueryContext(ctx, `SELECT event, type, at, document FROM
		(SELECT event, type, at, document, seq FROM transitions WHERE rollout = ? ORDER BY seq DESC LIMIT ?) ORDER BY seq`, id, maxTransitions)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Transition
	for rows.Next() {
		var t Transition
		var at int64
		var document []byte
		if err := rows.Scan(&t.Event, &t.Type, &at, &document); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(document, &t.Document); err != nil {
			return nil, fmt.Errorf("transition %s: %w", t.Event, err)
		}
		t.At = fromNanos(at)
		found = append(found, t)
	}
	return found, rows.Err()
}

// openToRead opens the ledger in a file as it is, for reading alone.
func openToRead(path string) (*Ledger, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	read, err := sql.Open("sqlite", dsn(path, "mode=ro", "_pragma=query_only(1)"))
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	return &Ledger{path: path, read: read}, nil
}

// ReadHistory reads what a ledger has on record of a rollout, from its file, which
// is not changed and which a daemon may have open. NotFound if there is none.
func ReadHistory(ctx context.Context, path, id string) (_ History, err error) {
	l, err := openToRead(path)
	if err != nil {
		return History{}, err
	}
	defer func() { err = errors.Join(err, l.read.Close()) }()
	return l.history(ctx, id)
}
