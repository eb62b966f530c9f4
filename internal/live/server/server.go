// Package server runs the real servers of this machine (PostgreSQL, Redis, and
// whatever else is given as a command): on loopback, on a free port, in a
// folder of their own, and never longer than the process that started them,
// even if that one is killed. The tests use it through package live, the demo
// by itself.
package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is where every server listens: no other machine may reach it.
const Host = "127.0.0.1"

// patience is how long a server may take to start or to stop.
const patience = 30 * time.Second

// A Server is one server in a folder of its own. It can be stopped and started
// again on the same address with the same data, until Close. Its methods are
// for one goroutine at a time.
type Server struct {
	Addr   string // host:port
	Folder string // its data and its log; removed by Close

	name   string
	user   *syscall.Credential // nil: our own
	argv   []string
	stop   syscall.Signal // asks it to end in good order
	abort  syscall.Signal // ends it at once
	ready  func(ctx context.Context, addr string) error
	keeper *keeper // nil: not running
}

// A Command says how a server of any kind is run.
type Command struct {
	Name  string // for messages
	Argv  func(folder, port string) []string
	Ready func(ctx context.Context, addr string) error // nil when it answers
	Stop  syscall.Signal                               // asks it to end in good order
	Abort syscall.Signal                               // ends it at once; 0 is SIGKILL

	// Prepare fills the folder before the first start.
	Prepare func(ctx context.Context, folder string, user *syscall.Credential) error

	// User runs it as somebody else; nil is ourselves.
	User *syscall.Credential
}

// Run starts a server and returns when it answers. The folder is a new one.
func Run(ctx context.Context, command Command) (*Server, error) {
	folder, err := newFolder(command.User)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command.Name, err)
	}
	s := &Server{
		Folder: folder,
		name:   command.Name,
		user:   command.User,
		stop:   command.Stop,
		abort:  command.Abort,
		ready:  command.Ready,
	}
	if s.abort == 0 {
		s.abort = syscall.SIGKILL
	}
	if command.Prepare != nil {
		if err := command.Prepare(ctx, folder, command.User); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), os.RemoveAll(folder))
		}
	}
	// Between our finding a port free and the server's taking it, somebody else may take it.
	for range 5 {
		var port string
		if port, err = FreePort(); err != nil {
			break
		}
		s.Addr = net.JoinHostPort(Host, port)
		s.argv = command.Argv(folder, port)
		if err = s.Start(ctx); err == nil {
			return s, nil
		}
		if !strings.Contains(strings.ToLower(s.Log()), "address already in use") {
			break
		}
	}
	return nil, errors.Join(err, os.RemoveAll(folder))
}

// Start runs the server and returns when it answers. A server that ends before
// it answers is an error that shows the end of its log.
func (s *Server) Start(ctx context.Context) error {
	if s.keeper != nil {
		return fmt.Errorf("%s at %s: runs already", s.name, s.Addr)
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	defer log.Close()
	s.keeper, err = keep(s.argv, s.Folder, log, s.user, s.abort)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if err := s.await(ctx, s.ready); err != nil {
		return errors.Join(fmt.Errorf("%s at %s: %w; its log ends:\n%s", s.name, s.Addr, err, s.Log()), s.end(s.abort))
	}
	return nil
}

// await returns when ready does not fail any more.
func (s *Server) await(ctx context.Context, ready func(ctx context.Context, addr string) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		err := ready(ctx, s.Addr)
		if err == nil {
			return nil
		}
		select {
		case <-pause.C:
		case <-s.keeper.gone:
			return errors.New("ended before it answered")
		case <-ctx.Done():
			return fmt.Errorf("does not answer: %w", err)
		}
	}
}

// Stop ends the server in good order and keeps its data and address.
func (s *Server) Stop() error { return s.end(s.stop) }

// Kill ends the server and all its processes by SIGKILL, as a crash would, and
// keeps its data and address.
func (s *Server) Kill() error { return s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) error {
	if s.keeper == nil {
		return nil
	}
	kill := func() error { return syscall.Kill(s.keeper.pid, signal) }
	if signal == syscall.SIGKILL {
		kill = func() error { return signalTree(s.keeper.pid, signal) }
	}
	// A stopped process takes no signal but SIGKILL.
	err := errors.Join(s.Thaw(), kill())
	if !s.goneWithin(patience) {
		err = errors.Join(err, signalTree(s.keeper.pid, syscall.SIGKILL))
	}
	err = errors.Join(err, s.keeper.release())
	if !s.goneWithin(patience) {
		err = errors.Join(err, errors.New("does not end"))
	}
	s.keeper = nil
	if err != nil {
		return fmt.Errorf("end %s at %s: %w", s.name, s.Addr, err)
	}
	return nil
}

func (s *Server) goneWithin(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.keeper.gone:
		return true
	case <-timer.C:
		return false
	}
}

// Freeze stops every process of the server (SIGSTOP): its connections stay
// open and nothing answers, as with a hanging machine.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) error {
	if s.keeper == nil {
		return nil
	}
	if err := signalTree(s.keeper.pid, signal); err != nil {
		return fmt.Errorf("%s at %s: %w", s.name, s.Addr, err)
	}
	return nil
}

// Close ends the server at once and removes its folder.
func (s *Server) Close() error {
	return errors.Join(s.end(s.abort), os.RemoveAll(s.Folder))
}

// Log returns the end of what the server has printed.
func (s *Server) Log() string {
	const most = 8 << 10
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

func (s *Server) logFile() string { return filepath.Join(s.Folder, "log") }

// newFolder makes a folder that belongs to user.
func newFolder(user *syscall.Credential) (string, error) {
	folder, err := os.MkdirTemp("", "rollwatch-server-")
	if err != nil {
		return "", fmt.Errorf("folder: %w", err)
	}
	if user == nil {
		return folder, nil
	}
	if err := os.Chown(folder, int(user.Uid), int(user.Gid)); err != nil {
		return "", errors.Join(fmt.Errorf("folder: %w", err), os.Remove(folder))
	}
	return folder, nil
}

// FreePort finds a TCP port on loopback on which nobody listens. It looks
// below the range from which kernels take the ports of outgoing connections:
// those would take it away again.
func FreePort() (string, error) {
	const lowest, highest = 15000, 32000
	for range 100 {
		port := strconv.Itoa(lowest + rand.IntN(highest-lowest))
		listener, err := net.Listen("tcp", net.JoinHostPort(Host, port))
		if err != nil {
			continue
		}
		if err := listener.Close(); err != nil {
			return "", fmt.Errorf("free port: %w", err)
		}
		return port, nil
	}
	return "", fmt.Errorf("no free port between %d and %d on %s", lowest, highest, Host)
}
