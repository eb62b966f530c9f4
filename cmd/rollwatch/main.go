// Command rollwatch stands beside a multi-tenant SaaS, reads the health of its
// databases, Redis, queues and services, and answers one question after every
// rollout: continue, promote, hold or roll back, and why.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

// run is the program as the tests know it too.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once, for whoever will not wait.
	defer context.AfterFunc(ctx, stop)()
	return execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// The exit codes that do not belong to one command.
const (
	exitFailure = 1
	exitUsage   = 2 // wrong arguments, or a configuration that is refused
)

// An exitError ends the program with a code of its own. Without an error in it
// nothing is printed: the command has said all there is to say.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage is the error of wrong arguments.
func usage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exitError](err)
	if !ok {
		exit = &exitError{code: exitFailure, err: err}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, "rollwatch:", exit.err)
	}
	return exit.code
}
