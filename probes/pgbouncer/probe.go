package pgbouncer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// closeWithin bounds the goodbye to a pooler.
const closeWithin = time.Second

// reader reads one admin console over one kept connection.
type reader struct {
	config Config
	conn   *pgx.Conn
}

// Read asks every command of the console. One that is refused or not there
// costs its own part; a console that does not answer is an error.
func (r *reader) Read(ctx context.Context) (probe.Reading, error) {
	if err := r.connect(ctx); err != nil {
		return probe.Reading{}, err
	}
	var reading probe.Reading
	for _, v := range views {
		table, err := r.show(ctx, v.command)
		var refused *pgconn.PgError
		switch {
		case err == nil:
			reading.Samples = append(reading.Samples, v.take(table)...)
			reading.Views = append(reading.Views, probe.View{Name: v.command, State: probe.ViewRead})
			if v.command == showVersion {
				reading.Details = map[string]any{"version": versionOf(table)}
			}
		case errors.As(err, &refused) && !r.conn.IsClosed():
			reading.Views = append(reading.Views, probe.View{Name: v.command, State: stateOf(refused), Err: err})
		default:
			r.drop() //nolint:contextcheck // the goodbye has a time of its own
			return probe.Reading{}, fmt.Errorf("%s: %w", v.command, err)
		}
	}
	return reading, nil
}

// stateOf tells a refusal from a command that this version does not have.
func stateOf(err *pgconn.PgError) probe.ViewState {
	if err.Code == "42501" || strings.Contains(err.Message, "admin access needed") {
		return probe.ViewDenied
	}
	return probe.ViewAbsent
}

// Close ends the connection.
func (r *reader) Close() error {
	r.drop()
	return nil
}

func (r *reader) drop() {
	if r.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	_ = r.conn.Close(ctx) // a pooler that is gone needs no goodbye
	r.conn = nil
}

// connect opens a connection if there is none. One that was kept may have been
// ended by the pooler since; that alone is not a pooler that is down.
func (r *reader) connect(ctx context.Context) error {
	if r.conn != nil {
		if _, err := r.show(ctx, showVersion); err == nil {
			return nil
		}
		r.drop() //nolint:contextcheck // the goodbye has a time of its own
	}
	config, err := r.config.parse()
	if err != nil {
		return err
	}
	if r.conn, err = pgx.ConnectConfig(ctx, config); err != nil {
		return fmt.Errorf("connect: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	return nil
}

// parse reads the URL afresh, so that a rotated password works.
func (c *Config) parse() (*pgx.ConnConfig, error) {
	secret := c.URL
	if c.URLFile != "" {
		var err error
		if secret, err = probe.ReadSecretFile(c.URLFile); err != nil {
			return nil, fmt.Errorf("url_file: %w", err)
		}
	}
	config, err := pgx.ParseConfig(secret.Reveal())
	if err != nil {
		return nil, errors.New("not a usable URL of an admin console: write it as postgresql://stats:password@host:6432/pgbouncer")
	}
	// The console speaks the simple protocol only, and refuses settings that it
	// does not know.
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	for name := range config.RuntimeParams {
		delete(config.RuntimeParams, name)
	}
	config.RuntimeParams["application_name"] = "rollwatch"
	return config, nil
}

// A table is an answer of the console: its columns came and went with versions,
// and are found by their names.
type table []map[string]string

// mostRows bounds what is taken of one answer.
const mostRows = 5000

// show asks one command.
func (r *reader) show(ctx context.Context, command string) (table, error) {
	results, err := r.conn.PgConn().Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, err
	}
	var all table
	for _, result := range results {
		for _, row := range result.Rows[:min(len(result.Rows), mostRows)] {
			named := make(map[string]string, len(row))
			for i, field := range result.FieldDescriptions {
				named[field.Name] = strings.ToValidUTF8(string(row[i]), "?")
			}
			all = append(all, named)
		}
	}
	return all, nil
}

// number is the value of a column; not ok where the version has no such column.
func number(row map[string]string, column string) (float64, bool) {
	v, err := strconv.ParseFloat(row[column], 64)
	return v, err == nil
}
