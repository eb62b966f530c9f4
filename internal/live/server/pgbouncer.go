package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// StartPgBouncer runs a PgBouncer in front of a PostgreSQL. Settings are
// name=value as in the section [pgbouncer] of its configuration, and win over
// ours: app, postgres and stats are let in; postgres administers the console and
// stats may look at it.
func StartPgBouncer(ctx context.Context, p *Postgres, settings ...string) (*Server, error) {
	program, err := find("pgbouncer", "/usr/sbin")
	if err != nil {
		return nil, err
	}
	account, err := postgresAccount()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		return nil, fmt.Errorf("PgBouncer: %w", err)
	}
	own := []string{
		"listen_addr=" + Host, "auth_type=trust", "admin_users=postgres", "stats_users=stats", "unix_socket_dir=",
		"ignore_startup_parameters=extra_float_digits", "server_login_retry=1",
	}
	return Run(ctx, Command{
		Name: "PgBouncer",
		Argv: func(folder, listen string) []string {
			lines := append(append([]string{"[databases]", fmt.Sprintf("app = host=%s port=%s user=postgres dbname=app", host, port), "[pgbouncer]"}, own...), settings...)
			file, users := filepath.Join(folder, "pgbouncer.ini"), filepath.Join(folder, "users.txt")
			text := strings.Join(append(lines, "listen_port="+listen, "auth_file="+users), "\n") + "\n"
			// Without the files the start fails, and says so.
			_ = os.WriteFile(users, []byte("\"app\" \"\"\n\"postgres\" \"\"\n\"stats\" \"\"\n"), 0o644)
			_ = os.WriteFile(file, []byte(text), 0o644)
			return []string{program, file}
		},
		Ready: func(ctx context.Context, addr string) error {
			conn, err := pgx.Connect(ctx, "postgres://stats@"+addr+"/pgbouncer?sslmode=disable&default_query_exec_mode=simple_protocol")
			if err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			return conn.Close(ctx)
		},
		Stop: syscall.SIGINT,
		User: account,
	})
}
