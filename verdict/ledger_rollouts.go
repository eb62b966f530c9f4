package verdict

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// maxPage bounds how many rows one page of a list holds.
const (
	defaultPage = 50
	maxPage     = 500
)

// A querier is what reads: the pool of readers, or the transaction that writes.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

const rolloutColumns = `n, id, registered_at, registration, baseline, verdict, final, seq, latched, latched_at, superseded_by, outcome, finished_at`

// selectRollouts returns the rollouts for which the clause (WHERE, ORDER BY,
// LIMIT) stands, with the row number of the last.
func selectRollouts(ctx context.Context, q querier, clause string, args ...any) ([]Rollout, int64, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+rolloutColumns+" FROM rollouts "+clause, args...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var found []Rollout
	var last int64
	for rows.Next() {
		var r Rollout
		var registration, baseline []byte
		var registered, latched, finished int64
		if err := rows.Scan(&last, &r.ID, &registered, &registration, &baseline, &r.Verdict, &r.Final, &r.Seq,
			&r.Latched, &latched, &r.SupersededBy, &r.Outcome, &finished); err != nil {
			return nil, 0, err
		}
		said := recorded{Registration: &r.Registration}
		err := json.Unmarshal(registration, &said)
		r.Detected, r.Notes = said.Detected, said.Notes
		if err := errors.Join(err, json.Unmarshal(baseline, &r.Baseline)); err != nil {
			return nil, 0, fmt.Errorf("rollout %s: %w", r.ID, err)
		}
		r.RegisteredAt, r.LatchedAt, r.FinishedAt = fromNanos(registered), fromNanos(latched), fromNanos(finished)
		found = append(found, r)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	return found, last, addHistory(ctx, q, found)
}

// addHistory gives the rollouts their stages, their newest override and the marks
// of their schemas.
func addHistory(ctx context.Context, q querier, rollouts []Rollout) error {
	if len(rollouts) == 0 {
		return nil
	}
	byID := make(map[string]*Rollout, len(rollouts))
	var ids []any
	for i := range rollouts {
		byID[rollouts[i].ID] = &rollouts[i]
		ids = append(ids, rollouts[i].ID)
	}
	in := "(?" + strings.Repeat(",?", len(ids)-1) + ")"
	rows, err := q.QueryContext(ctx, "SELECT rollout, at, weight, note FROM stages WHERE rollout IN "+in+" ORDER BY n", ids...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var at int64
		var stage Stage
		if err := rows.Scan(&id, &at, &stage.Weight, &stage.Note); err != nil {
			return err
		}
		stage.At = fromNanos(at)
		byID[id].Stages = append(byID[id].Stages, stage)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return errors.Join(addOverrides(ctx, q, byID, in, ids), addSchemas(ctx, q, byID, in, ids))
}

func addOverrides(ctx context.Context, q querier, byID map[string]*Rollout, in string, ids []any) error {
	rows, err := q.QueryContext(ctx, "SELECT rollout, at, until, verdict, reason, author FROM overrides WHERE rollout IN "+in+" ORDER BY n", ids...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var at, until int64
		var o Override
		if err := rows.Scan(&id, &at, &until, &o.Verdict, &o.Reason, &o.Author); err != nil {
			return err
		}
		o.At, o.Until = fromNanos(at), fromNanos(until)
		byID[id].Override = &o
	}
	return rows.Err()
}

// rollout returns one rollout; NotFound if there is none.
func (l *Ledger) rollout(ctx context.Context, id string) (Rollout, error) {
	return l.one(ctx, fmt.Sprintf("there is no rollout %q", id), "WHERE id = ?", id)
}

// newest returns the rollout of the service that was registered last.
func (l *Ledger) newest(ctx context.Context, service string) (Rollout, error) {
	return l.one(ctx, fmt.Sprintf("no rollout of %q was registered", service), "WHERE service = ? ORDER BY n DESC LIMIT 1", service)
}

func (l *Ledger) one(ctx context.Context, none, clause string, args ...any) (Rollout, error) {
	found, _, err := selectRollouts(ctx, l.read, clause, args...)
	if err != nil {
		return Rollout{}, l.explain(err)
	}
	if len(found) == 0 {
		return Rollout{}, notFound("%s", none)
	}
	return found[0], nil
}

// rollouts lists rollouts of a service (of all, if empty), newest first.
func (l *Ledger) rollouts(ctx context.Context, service string, page Page) ([]Rollout, string, error) {
	before, limit, err := page.read()
	if err != nil {
		return nil, "", err
	}
	found, last, err := selectRollouts(ctx, l.read,
		"WHERE n < ? AND (? = '' OR service = ?) ORDER BY n DESC LIMIT ?", before, service, service, limit)
	if err != nil {
		return nil, "", l.explain(err)
	}
	return found, page.next(len(found), last), nil
}

// underWatch returns every rollout that is not final, oldest first.
func (l *Ledger) underWatch(ctx context.Context) ([]Rollout, error) {
	found, _, err := selectRollouts(ctx, l.read, "WHERE final = 0 ORDER BY n")
	if err != nil {
		return nil, l.explain(err)
	}
	return found, nil
}

// newestOfEach returns the newest rollout of every service.
func (l *Ledger) newestOfEach(ctx context.Context) ([]Rollout, error) {
	found, _, err := selectRollouts(ctx, l.read, "WHERE n IN (SELECT max(n) FROM rollouts GROUP BY service) ORDER BY n")
	if err != nil {
		return nil, l.explain(err)
	}
	return found, nil
}

// spansNotToLearnFrom are the times since when a rollout of the service was in
// production that was rolled back: from its start to its finish, or else to
// the start of the next.
func (l *Ledger) spansNotToLearnFrom(ctx context.Context, service string, since, now time.Time) ([]alerts.Span, error) {
	found, _, err := selectRollouts(ctx, l.read, "WHERE service = ? AND started_at >= ? ORDER BY started_at, n", service, nanos(since))
	if err != nil {
		return nil, l.explain(err)
	}
	var spans []alerts.Span
	for i, r := range found {
		if r.Latched != Rollback && r.Outcome != RolledBack {
			continue
		}
		to := now
		if i+1 < len(found) {
			to = found[i+1].StartedAt
		}
		if !r.FinishedAt.IsZero() && r.FinishedAt.Before(to) {
			to = r.FinishedAt
		}
		spans = append(spans, alerts.Span{From: r.StartedAt, To: to})
	}
	return spans, nil
}

// A registration is a rollout to be recorded, with the key that makes sending
// it twice harmless.
type registration struct {
	rollout Rollout
	key     string            // empty: none was sent
	request string            // hash of what was sent
	schemas map[string][]byte // of the databases, as they are stored, by their ids
}

// byKey returns the rollout that was registered with the key, and false if
// there is none; Conflict when something else was registered with it.
func (l *Ledger) byKey(ctx context.Context, key, request string) (Rollout, bool, error) {
	if key == "" {
		return Rollout{}, false, nil
	}
	var id, stored string
	err := l.read.QueryRowContext(ctx, "SELECT rollout, request FROM idempotency_keys WHERE key = ?", key).Scan(&id, &stored)
	if errors.Is(err, sql.ErrNoRows) {
		return Rollout{}, false, nil
	}
	if err != nil {
		return Rollout{}, false, l.explain(err)
	}
	if stored != request {
		return Rollout{}, false, conflict("the idempotency key was used for another registration (%s)", id)
	}
	r, err := l.rollout(ctx, id)
	return r, err == nil, err
}

// register records a rollout under the first free form of its ID, and returns
// it. Those of its service that are under watch are superseded by it.
func (l *Ledger) register(ctx context.Context, reg registration) (Rollout, error) {
	r := reg.rollout
	text, err := json.Marshal(recorded{&r.Registration, r.Detected, r.Notes})
	if err != nil {
		return Rollout{}, err
	}
	baseline, err := json.Marshal(r.Baseline)
	if err != nil {
		return Rollout{}, err
	}
	err = l.transact(ctx, func(tx *sql.Tx) error {
		if r.ID, err = freeID(ctx, tx, r.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO rollouts (id, service, started_at, registered_at, registration, baseline) VALUES (?, ?, ?, ?, ?, ?)`,
			r.ID, r.Service, nanos(r.StartedAt), nanos(r.RegisteredAt), text, baseline); err != nil {
			return err
		}
		if err := reg.keep(ctx, tx, r.ID); err != nil {
			return err
		}
		if err := keepSchemas(ctx, tx, r, reg.schemas); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE rollouts SET superseded_by = ? WHERE service = ? AND final = 0 AND superseded_by = '' AND id <> ?`, r.ID, r.Service, r.ID)
		return err
	})
	return r, err
}

// keep records the key that the registration came with.
func (reg registration) keep(ctx context.Context, tx *sql.Tx, id string) error {
	if reg.key == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO idempotency_keys (key, request, rollout) VALUES (?, ?, ?)`, reg.key, reg.request, id)
	return err
}

// recorded is how what is known of a rollout from its registration is written down.
type recorded struct {
	*Registration
	Detected bool     `json:"detected,omitempty"`
	Notes    []string `json:"notes,omitempty"`
}

// adopt records what a tool says of a rollout that is on record already.
func (l *Ledger) adopt(ctx context.Context, reg registration) error {
	r := reg.rollout
	text, err := json.Marshal(recorded{&r.Registration, r.Detected, r.Notes})
	if err != nil {
		return err
	}
	return l.transact(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE rollouts SET registration = ? WHERE id = ?", text, r.ID); err != nil {
			return err
		}
		return reg.keep(ctx, tx, r.ID)
	})
}

// freeID returns id, or id-2, id-3 ... when it is taken.
func freeID(ctx context.Context, tx *sql.Tx, id string) (string, error) {
	for n := 1; ; n++ {
		free := id
		if n > 1 {
			free += "-" + strconv.Itoa(n)
		}
		var taken bool
		if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM rollouts WHERE id = ?)", free).Scan(&taken); err != nil {
			return "", err
		}
		if !taken {
			return free, nil
		}
	}
}

// addStage records a stage.
func (l *Ledger) addStage(ctx context.Context, id string, stage Stage) error {
	return l.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO stages (rollout, at, weight, note) VALUES (?, ?, ?, ?)", id, nanos(stage.At), stage.Weight, stage.Note)
		return err
	})
}

// forget removes rollouts that were closed and registered before the time, with
// all that belongs to them, but never the newest of a service nor one for which a
// delivery is still owed.
func (l *Ledger) forget(ctx context.Context, before time.Time) error {
	return l.transact(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM rollouts WHERE final = 1 AND registered_at < ?
			AND n NOT IN (SELECT max(n) FROM rollouts GROUP BY service)
			AND id NOT IN (SELECT t.rollout FROM deliveries d JOIN transitions t ON t.event = d.event WHERE d.state = 'owed')`, nanos(before))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM schemas WHERE id NOT IN (SELECT schema FROM rollout_schemas)`)
		return err
	})
}

// read returns the row number before which the page begins, and how many rows it holds.
func (p Page) read() (before, limit int64, err error) {
	limit = int64(min(maxPage, p.Limit))
	if limit <= 0 {
		limit = defaultPage
	}
	if p.Cursor == "" {
		return 1<<63 - 1, limit, nil
	}
	before, err = strconv.ParseInt(p.Cursor, 10, 64)
	if err != nil {
		return 0, 0, invalid("cursor", "cursor %q is not one that a list returned", p.Cursor)
	}
	return before, limit, nil
}

// next is the cursor of the page after one with so many rows; empty when it was the last.
func (p Page) next(rows int, last int64) string {
	if _, limit, err := p.read(); err != nil || int64(rows) < limit {
		return ""
	}
	return strconv.FormatInt(last, 10)
}
