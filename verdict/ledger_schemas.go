package verdict

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// keepSchemas records what the databases looked like at a registration. Schemas
// that are alike are stored once.
func keepSchemas(ctx context.Context, tx *sql.Tx, r Rollout, bodies map[string][]byte) error {
	for _, f := range r.Schemas {
		if f.ID != "" {
			if _, err := tx.ExecContext(ctx, `INSERT INTO schemas (id, body) VALUES (?, ?) ON CONFLICT (id) DO NOTHING`, f.ID, bodies[f.ID]); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO rollout_schemas (rollout, target, schema, read_at, unknown) VALUES (?, ?, ?, ?, ?)`,
			r.ID, f.Database, f.ID, nanos(f.ReadAt), f.Unknown); err != nil {
			return err
		}
	}
	return nil
}

// schema returns what was frozen under an id.
func (l *Ledger) schema(ctx context.Context, id string) (*probe.Schema, error) {
	var body []byte
	if err := l.read.QueryRowContext(ctx, "SELECT body FROM schemas WHERE id = ?", id).Scan(&body); err != nil {
		return nil, l.explain(fmt.Errorf("schema %s: %w", id, err))
	}
	s, err := unpackSchema(body)
	if err != nil {
		return nil, l.explain(fmt.Errorf("schema %s: %w", id, err))
	}
	return s, nil
}

func addSchemas(ctx context.Context, q querier, byID map[string]*Rollout, in string, ids []any) error {
	rows, err := q.QueryContext(ctx, "SELECT rollout, target, schema, read_at, unknown FROM rollout_schemas WHERE rollout IN "+in+" ORDER BY n", ids...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var at int64
		var f FrozenSchema
		if err := rows.Scan(&id, &f.Database, &f.ID, &at, &f.Unknown); err != nil {
			return err
		}
		f.ReadAt = fromNanos(at)
		byID[id].Schemas = append(byID[id].Schemas, f)
	}
	return rows.Err()
}
