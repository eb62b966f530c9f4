package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// applicationName is how the server lists our session.
const applicationName = "rollwatch"

// closeWithin bounds the goodbye to a server.
const closeWithin = time.Second

// A session is the one kept connection to a target, with its limits in force.
type session struct {
	conn    *pgx.Conn
	line    *line
	version int               // server_version_num
	limits  map[string]string // the settings that keep us harmless
	timeout time.Duration     // statement_timeout

	prepared string // the statement that the server keeps for us

	// pooled is set when the limits are not the session's (a pooler refused or
	// ignored them). They are then made local to each transaction: a plain SET
	// would stay on the server connection, which the pooler gives to others.
	pooled bool
}

// limitsFor are the settings of a session whose statements may take timeout.
func limitsFor(timeout time.Duration) map[string]string {
	ms := func(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
	return map[string]string{
		"statement_timeout":                   ms(timeout),
		"lock_timeout":                        ms(timeout / 4),
		"idle_in_transaction_session_timeout": ms(10 * timeout),
		"default_transaction_read_only":       "on",
		"jit":                                 "off", // one long statement of cheap parts looks dear to the planner
	}
}

// connect opens a session to the target, whose statements may take timeout.
func connect(ctx context.Context, config *pgx.ConnConfig, timeout time.Duration) (*session, error) {
	limits := limitsFor(timeout)
	s, err := dial(ctx, config, limits)
	if refusesParameters(err) {
		s, err = dial(ctx, config, nil)
	}
	if err != nil {
		return nil, err
	}
	s.limits, s.timeout = limits, timeout
	if err := s.learn(ctx); err != nil {
		s.close() //nolint:contextcheck // the goodbye has a time of its own
		return nil, fmt.Errorf("connect: %w", err)
	}
	return s, nil
}

func dial(ctx context.Context, config *pgx.ConnConfig, limits map[string]string) (*session, error) {
	config = config.Copy()
	maps.Copy(config.RuntimeParams, limits)
	config.RuntimeParams["application_name"] = applicationName
	// Unnamed statements in one round trip: nothing to prepare, nothing for a
	// pooler to mix up.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	line := &line{}
	config.DialFunc = line.dial
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		line.hangUp()
		return nil, fmt.Errorf("connect: %w", plain(err))
	}
	return &session{conn: conn, line: line}, nil
}

// refusesParameters says whether a pooler refused our settings in the startup
// packet; PgBouncer does unless ignore_startup_parameters names them.
func refusesParameters(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && strings.Contains(pgErr.Message, "unsupported startup parameter")
}

// learn finds the server's version, and whether the limits are in force: a
// pooler may also drop them in silence.
func (s *session) learn(ctx context.Context) error {
	var readOnly, timeout string
	err := s.conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int,
		current_setting('default_transaction_read_only'),
		(SELECT setting FROM pg_catalog.pg_settings WHERE name = 'statement_timeout')`).
		Scan(&s.version, &readOnly, &timeout)
	if err != nil {
		return fmt.Errorf("learn the server's version: %w", err)
	}
	s.pooled = readOnly != "on" || timeout != s.limits["statement_timeout"]
	return nil
}

// guard queues the limits in front of a batch that goes through a pooler. A
// batch is one transaction, and ends with it.
func (s *session) guard(batch *pgx.Batch) {
	settings := make([]string, 0, len(s.limits))
	for name, value := range s.limits {
		if name == "default_transaction_read_only" {
			name = "transaction_read_only"
		}
		settings = append(settings, fmt.Sprintf("set_config('%s', '%s', true)", name, value))
	}
	batch.Queue("SELECT " + strings.Join(settings, ", "))
}

// ping measures one round trip.
func (s *session) ping(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	if _, err := s.conn.Exec(ctx, "SELECT 1"); err != nil {
		return 0, fmt.Errorf("select 1: %w", plain(err))
	}
	return time.Since(start), nil
}

// close says goodbye if the server still listens, and hangs up. It takes no
// context: it is called most when that of the reading has ended.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	// An error here is a server that is gone already: hanging up is all there is to do.
	_ = s.conn.Close(ctx)
	s.line.hangUp()
	<-s.conn.PgConn().CleanupDone()
}

// plain is err on one line: pgx lists each address it tried on a line of its own.
func plain(err error) error {
	if !strings.Contains(err.Error(), "\n") {
		return err
	}
	return &oneLineError{err}
}

type oneLineError struct{ err error }

func (e *oneLineError) Error() string { return strings.Join(strings.Fields(e.err.Error()), " ") }
func (e *oneLineError) Unwrap() error { return e.err }
