package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Column is the first column of what a query returns, as text, at most so many
// rows. It is asked read-only on a connection of its own.
func Column(ctx context.Context, config *Config, sql string, most int) (values []string, err error) {
	r := newProbe(*config)
	target, err := r.target()
	if err != nil {
		return nil, err
	}
	s, err := connect(ctx, target, r.statementTimeout(ctx))
	if err != nil {
		return nil, inTime(ctx, err)
	}
	defer s.close() //nolint:contextcheck // the goodbye has a time of its own
	rows, err := s.conn.Query(ctx, sql, pgx.QueryResultFormats{pgx.TextFormatCode})
	if err != nil {
		return nil, inTime(ctx, fmt.Errorf("query: %w", err))
	}
	defer rows.Close()
	for len(values) < most && rows.Next() {
		if row := rows.RawValues(); len(row) > 0 && row[0] != nil {
			values = append(values, string(row[0]))
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil && len(values) < most {
		return nil, inTime(ctx, fmt.Errorf("query: %w", err))
	}
	return values, nil
}
