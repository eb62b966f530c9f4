package verdict

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"time"
)

// A transition is one change of the verdict on a rollout, and everything that
// becomes true with it. Without an event only the rollout has changed.
type transition struct {
	rollout  Rollout // as it is afterwards
	override *Override
	document Document
	event    string // its id
	typ      EventType
	payload  []byte
	owedTo   []string // names of endpoints
}

// record writes a transition and the deliveries it owes, all or nothing. The
// sequence number is taken once: a second transition with it is refused.
func (l *Ledger) record(ctx context.Context, t transition) error {
	document, err := json.Marshal(t.document)
	if err != nil {
		return err
	}
	at := nanos(t.document.AsOf)
	return l.transact(ctx, func(tx *sql.Tx) error {
		if err := updateRollout(ctx, tx, t.rollout); err != nil {
			return err
		}
		if o := t.override; o != nil {
			if _, err := tx.ExecContext(ctx, `INSERT INTO overrides (rollout, at, until, verdict, reason, author) VALUES (?, ?, ?, ?, ?, ?)`,
				t.rollout.ID, nanos(o.At), nanos(o.Until), o.Verdict, o.Reason, o.Author); err != nil {
				return err
			}
		}
		if t.event == "" {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO transitions (event, rollout, seq, type, at, document, payload) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			t.event, t.rollout.ID, t.document.Seq, t.typ, at, document, t.payload); err != nil {
			return err
		}
		for _, endpoint := range t.owedTo {
			if _, err := tx.ExecContext(ctx, `INSERT INTO deliveries (id, event, endpoint, state, created_at, owed_since, next_attempt) VALUES (?, ?, ?, ?, ?, ?, ?)`,
				newID("dlv"), t.event, endpoint, Owed, at, at, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// updateRollout writes what judging changes. That a rollout is superseded is
// written by the registration of the newer one, at which nobody else may undo it.
func updateRollout(ctx context.Context, tx *sql.Tx, r Rollout) error {
	_, err := tx.ExecContext(ctx, `UPDATE rollouts SET verdict = ?, final = ?, seq = ?, latched = ?, latched_at = ?, outcome = ?, finished_at = ? WHERE id = ?`,
		r.Verdict, r.Final, r.Seq, r.Latched, nanos(r.LatchedAt), r.Outcome, nanos(r.FinishedAt), r.ID)
	return err
}

// newID returns an id that nobody can guess.
func newID(prefix string) string { return prefix + "_" + rand.Text() }

// lastDocument returns the newest recorded verdict of a rollout; false when
// it was never judged.
func (l *Ledger) lastDocument(ctx context.Context, id string) (Document, bool, error) {
	var text []byte
	err := l.read.QueryRowContext(ctx, "SELECT document FROM transitions WHERE rollout = ? ORDER BY seq DESC LIMIT 1", id).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return Document{}, false, nil
	}
	if err != nil {
		return Document{}, false, l.explain(err)
	}
	var doc Document
	if err := json.Unmarshal(text, &doc); err != nil {
		return Document{}, false, l.explain(err)
	}
	return doc, true, nil
}

const deliveryColumns = `d.n, d.id, d.event, t.type, d.endpoint, t.rollout, d.state, d.attempts, d.created_at, d.owed_since, d.next_attempt, d.delivered_at, d.last_error, t.payload
	FROM deliveries d JOIN transitions t ON t.event = d.event `

func selectDeliveries(ctx context.Context, q querier, clause string, args ...any) ([]Delivery, int64, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+deliveryColumns+clause, args...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var found []Delivery
	var last int64
	for rows.Next() {
		var d Delivery
		var created, since, next, delivered int64
		if err := rows.Scan(&last, &d.ID, &d.Event, &d.Type, &d.Endpoint, &d.Rollout, &d.State, &d.Attempts,
			&created, &since, &next, &delivered, &d.LastError, &d.Payload); err != nil {
			return nil, 0, err
		}
		d.CreatedAt, d.OwedSince, d.DeliveredAt = fromNanos(created), fromNanos(since), fromNanos(delivered)
		if d.State == Owed {
			d.NextAttempt = fromNanos(next)
		}
		found = append(found, d)
	}
	return found, last, rows.Err()
}

// deliveries lists deliveries, newest first.
func (l *Ledger) deliveries(ctx context.Context, page Page) ([]Delivery, string, error) {
	before, limit, err := page.read()
	if err != nil {
		return nil, "", err
	}
	found, last, err := selectDeliveries(ctx, l.read, "WHERE d.n < ? ORDER BY d.n DESC LIMIT ?", before, limit)
	if err != nil {
		return nil, "", l.explain(err)
	}
	return found, page.next(len(found), last), nil
}

// replay owes a delivery again from now on, and trusts its endpoint again.
func (l *Ledger) replay(ctx context.Context, id string, now time.Time) (Delivery, error) {
	var replayed Delivery
	err := l.transact(ctx, func(tx *sql.Tx) error {
		found, _, err := selectDeliveries(ctx, tx, "WHERE d.id = ?", id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return notFound("there is no delivery %q", id)
		}
		replayed = found[0]
		replayed.State, replayed.Attempts, replayed.OwedSince, replayed.NextAttempt = Owed, 0, now, now
		if _, err := tx.ExecContext(ctx, "DELETE FROM gone_endpoints WHERE endpoint = ?", replayed.Endpoint); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE deliveries SET state = ?, attempts = 0, owed_since = ?, next_attempt = ? WHERE id = ?`, Owed, nanos(now), nanos(now), id)
		return err
	})
	return replayed, err
}

// NextOwed returns a delivery owed to an endpoint whose time has come, a new one
// before those that were tried; false when none has, with the time when the
// next one will be due (zero: none is owed).
func (l *Ledger) NextOwed(ctx context.Context, endpoint string, now time.Time) (Delivery, bool, time.Time, error) {
	due, _, err := selectDeliveries(ctx, l.read,
		`WHERE d.state = 'owed' AND d.endpoint = ? AND d.next_attempt <= ? ORDER BY d.attempts > 0, d.next_attempt, d.n LIMIT 1`,
		endpoint, nanos(now))
	if err != nil {
		return Delivery{}, false, time.Time{}, l.explain(err)
	}
	if len(due) > 0 {
		return due[0], true, time.Time{}, nil
	}
	var next sql.NullInt64
	if err := l.read.QueryRowContext(ctx, `SELECT min(next_attempt) FROM deliveries WHERE state = 'owed' AND endpoint = ?`, endpoint).Scan(&next); err != nil {
		return Delivery{}, false, time.Time{}, l.explain(err)
	}
	return Delivery{}, false, fromNanos(next.Int64), nil
}

// Settle records what became of an attempt at a delivery: its State, Attempts,
// NextAttempt, DeliveredAt and LastError.
func (l *Ledger) Settle(ctx context.Context, d Delivery) error {
	return l.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = ?, attempts = ?, next_attempt = ?, delivered_at = ?, last_error = ? WHERE id = ?`,
			d.State, d.Attempts, nanos(d.NextAttempt), nanos(d.DeliveredAt), d.LastError, d.ID)
		return err
	})
}

// Disable stops deliveries to an endpoint whose address (given as its hash) is gone.
func (l *Ledger) Disable(ctx context.Context, endpoint, address string, now time.Time) error {
	return l.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO gone_endpoints (endpoint, address, at) VALUES (?, ?, ?)
			ON CONFLICT (endpoint) DO UPDATE SET address = excluded.address, at = excluded.at`, endpoint, address, nanos(now))
		return err
	})
}

// SetAside stops trying what is owed to an endpoint, if that is disabled still:
// a replay may have enabled it since anybody looked.
func (l *Ledger) SetAside(ctx context.Context, endpoint, address string) error {
	return l.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = ?, last_error = 'the endpoint answered 410 Gone' WHERE endpoint = ? AND state = ?
			AND EXISTS (SELECT 1 FROM gone_endpoints WHERE endpoint = ? AND address = ?)`, Disabled, endpoint, Owed, endpoint, address)
		return err
	})
}

// IsDisabled says whether the endpoint was disabled while it had this address.
func (l *Ledger) IsDisabled(ctx context.Context, endpoint, address string) (bool, error) {
	var gone bool
	err := l.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM gone_endpoints WHERE endpoint = ? AND address = ?)`, endpoint, address).Scan(&gone)
	if err != nil {
		return false, l.explain(err)
	}
	return gone, nil
}

// Abandon gives up what has been owed since before the time to anybody but the
// endpoints named: those that are no longer configured.
func (l *Ledger) Abandon(ctx context.Context, configured []string, before time.Time) error {
	names, err := json.Marshal(configured)
	if err != nil {
		return err
	}
	return l.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE deliveries SET state = ?, last_error = 'no such webhook is configured any more'
			WHERE state = ? AND owed_since < ? AND endpoint NOT IN (SELECT value FROM json_each(?))`, Failed, Owed, nanos(before), string(names))
		return err
	})
}

// CountOwed returns how many deliveries are owed.
func (l *Ledger) CountOwed(ctx context.Context) (int, error) {
	var n int
	if err := l.read.QueryRowContext(ctx, `SELECT count(*) FROM deliveries WHERE state = 'owed'`).Scan(&n); err != nil {
		return 0, l.explain(err)
	}
	return n, nil
}
