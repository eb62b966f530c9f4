package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// Database is the database that every PostgreSQL server has; its superuser is
// postgres, who needs no password.
const Database = "app"

// A Postgres is a PostgreSQL server, a primary or a standby.
type Postgres struct {
	*Server

	URL  string // of Database, as superuser
	Name string // a standby's application_name and the name of its replication slot

	standbys int
}

// StartPostgres runs a primary. Settings are name=value as in postgresql.conf,
// and win over ours: no fsync, wal_level=logical, 50 connections.
func StartPostgres(ctx context.Context, settings ...string) (*Postgres, error) {
	programs, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	return startPostgres(ctx, programs, "", settings, func(ctx context.Context, folder string, user *syscall.Credential) error {
		template, err := postgresTemplate(ctx, user)
		if err != nil {
			return err
		}
		return execute(ctx, nil, "", "cp", "-a", template, filepath.Join(folder, "data"))
	})
}

// StartStandby runs a standby that streams from p through a replication slot
// of its own, and returns when it streams.
func (p *Postgres) StartStandby(ctx context.Context, settings ...string) (*Postgres, error) {
	p.standbys++
	name := "standby_" + strconv.Itoa(p.standbys)
	host, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		return nil, fmt.Errorf("standby: %w", err)
	}
	programs, err := postgresPrograms()
	if err != nil {
		return nil, err
	}
	standby, err := startPostgres(ctx, programs, name, settings, func(ctx context.Context, folder string, user *syscall.Credential) error {
		program := filepath.Join(programs(folder), "pg_basebackup")
		conninfo := fmt.Sprintf("host=%s port=%s user=postgres application_name=%s", host, port, name)
		return execute(ctx, user, "", program, "--pgdata="+filepath.Join(folder, "data"), "--dbname="+conninfo,
			"--write-recovery-conf", "--wal-method=stream", "--create-slot", "--slot="+name, "--checkpoint=fast", "--no-sync")
	})
	if err != nil {
		return nil, err
	}
	err = standby.await(ctx, func(ctx context.Context, _ string) error { return p.streams(ctx, name) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), standby.Close())
	}
	return standby, nil
}

// streams is nil when the standby streams from p.
func (p *Postgres) streams(ctx context.Context, standby string) error {
	conn, err := pgx.Connect(ctx, p.URL)
	if err != nil {
		return fmt.Errorf("primary: %w", err)
	}
	defer conn.Close(ctx)
	var state string
	err = conn.QueryRow(ctx, "select coalesce(max(state), 'absent') from pg_stat_replication where application_name = $1", standby).Scan(&state)
	if err != nil {
		return fmt.Errorf("primary: %w", err)
	}
	if state != "streaming" {
		return fmt.Errorf("replication state is %s", state)
	}
	return nil
}

type prepare func(ctx context.Context, folder string, user *syscall.Credential) error

// programs is the folder of PostgreSQL's programs, for a server whose folder is folder.
type programs func(folder string) string

func startPostgres(ctx context.Context, bin programs, name string, settings []string, fill prepare) (*Postgres, error) {
	account, err := postgresAccount()
	if err != nil {
		return nil, err
	}
	s, err := Run(ctx, Command{
		Name: strings.TrimSpace("PostgreSQL " + name),
		Argv: func(folder, port string) []string {
			argv := []string{filepath.Join(bin(folder), "postgres"), "-D", filepath.Join(folder, "data"), "-p", port, "-k", folder, "-h", Host}
			for _, setting := range append(postgresSettings(), settings...) {
				argv = append(argv, "-c", setting)
			}
			return argv
		},
		Ready: func(ctx context.Context, addr string) error {
			conn, err := pgx.Connect(ctx, postgresURL(addr))
			if err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			return conn.Close(ctx)
		},
		Stop:    syscall.SIGINT,  // fast shutdown: roll back, disconnect, end
		Abort:   syscall.SIGQUIT, // immediate shutdown: the postmaster ends its children, which SIGKILL would orphan
		Prepare: fill,
		User:    account,
	})
	if err != nil {
		return nil, err
	}
	return &Postgres{Server: s, URL: postgresURL(s.Addr), Name: name}, nil
}

// postgresPrograms is where this machine's server is, with all its programs:
// PATH may hold those of another version.
func postgresPrograms() (programs, error) {
	path, err := find("postgres", postgresFolders...)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return nil, fmt.Errorf("find PostgreSQL: %w", err)
	}
	return func(string) string { return filepath.Dir(path) }, nil
}

// postgresSettings make a small server that starts fast and keeps nothing safe.
func postgresSettings() []string {
	return []string{
		"fsync=off", "full_page_writes=off", "wal_level=logical", "max_connections=50", "shared_buffers=16MB",
		"max_wal_senders=10", "max_replication_slots=10", "hot_standby=on", "timezone=UTC", "log_timezone=UTC", "lc_messages=C",
	}
}

func postgresURL(addr string) string {
	return "postgres://postgres@" + addr + "/" + Database + "?sslmode=disable"
}

// postgresAccount is whom PostgreSQL runs as: it refuses root.
func postgresAccount() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // no other account is needed
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody: %w", err)
	}
	uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, fmt.Errorf("account %s: %w", account.Username, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// postgresTemplate returns a data folder with Database in it that is made once
// per version and account and copied for every server: initdb costs seconds.
func postgresTemplate(ctx context.Context, account *syscall.Credential) (string, error) {
	programs, err := postgresPrograms()
	if err != nil {
		return "", err
	}
	bin := programs("")
	version, err := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("initdb --version: %w", err)
	}
	cache, err := CacheFolder()
	if err != nil {
		return "", err
	}
	uid := os.Geteuid()
	if account != nil {
		uid = int(account.Uid)
	}
	release := string(bytes.Fields(version)[2]) // initdb (PostgreSQL) 15.18 (Debian ...)
	template := filepath.Join(cache, "postgres", fmt.Sprintf("%s-uid%d", release, uid))
	err = Once(template, func() error { return makeTemplate(ctx, bin, template, account) })
	return template, err
}

func makeTemplate(ctx context.Context, bin, target string, account *syscall.Credential) error {
	folder, err := newFolder(account)
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	data := filepath.Join(folder, "data")
	unfinished := target + ".new"
	if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.RemoveAll(unfinished)); err != nil {
		return fmt.Errorf("PostgreSQL template: %w", err)
	}
	if err := makeData(ctx, bin, data, account); err != nil {
		return err
	}
	if err := execute(ctx, nil, "", "cp", "-a", data, unfinished); err != nil {
		return err
	}
	if err := os.Rename(unfinished, target); err != nil {
		return fmt.Errorf("PostgreSQL template: %w", err)
	}
	return nil
}

// makeData makes a data folder with Database in it, as account.
func makeData(ctx context.Context, bin, data string, account *syscall.Credential) error {
	initdb := []string{
		filepath.Join(bin, "initdb"), "--pgdata=" + data, "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync", "--wal-segsize=1",
	}
	if err := execute(ctx, account, "", initdb...); err != nil {
		return err
	}
	postgres := []string{filepath.Join(bin, "postgres"), "--single", "-D", data, "-c", "fsync=off", "postgres"}
	return execute(ctx, account, "create database "+Database+"\n", postgres...)
}
