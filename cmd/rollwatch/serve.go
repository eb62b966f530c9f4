package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// stopTimeout is within what Kubernetes, systemd and Docker allow by default.
const stopTimeout = 9 * time.Second

func newServeCommand() *cobra.Command {
	var opts appOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Runs the daemon. SIGHUP and POST /-/reload read the configuration anew: it is
applied, or refused whole while the old one stays. SIGTERM ends the daemon
within ten seconds. Exit codes: 1 it could not start or broke, 2 the
configuration is bad, or a file that it names cannot be used.`,
		Example: `  rollwatch serve --config.file=rollwatch.yml
  DATABASE_URL=postgres://... REDIS_URL=redis://... rollwatch serve --web.listen-address=127.0.0.1:9876`,
		Args: wants(),
	}
	addConfigFlag(cmd)
	cmd.Flags().StringArrayVar(&opts.listen, "web.listen-address", []string{":9876"}, "address to listen on (repeatable)")
	cmd.Flags().StringVar(&opts.webConfig, "web.config.file", "", "TLS and basic auth, as Prometheus exporters read them")
	logging := addLogFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts.loader = loaderOf(cmd)
		opts.log = newLog(logging, cmd.ErrOrStderr())
		return serve(cmd.Context(), opts)
	}
	return cmd
}

// serve runs the daemon until ctx ends or it breaks.
func serve(ctx context.Context, opts appOptions) error {
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP) // from the first moment: its default is to end the program
	defer signal.Stop(hangUp)

	app, err := newApp(ctx, opts)
	if err != nil {
		return err
	}
	app.start()
	notify(opts.log, daemon.SdNotifyReady)
	// Beside the rest: a reload that hangs must not keep the daemon from ending.
	go app.reloadOnHangUp(ctx, hangUp)
	select {
	case err = <-app.broken:
		err = fmt.Errorf("the daemon broke: %w", err)
	case <-ctx.Done():
		opts.log.Info("ending")
	}
	notify(opts.log, daemon.SdNotifyStopping)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, app.stop(stopping))
}

// reloadOnHangUp reloads at each signal until ctx ends, one after the other. A
// signal that comes in the middle of a reload is not lost: the file may have
// changed since it was read.
func (a *app) reloadOnHangUp(ctx context.Context, hangUp <-chan os.Signal) {
	for {
		select {
		case <-hangUp:
			notify(a.log, daemon.SdNotifyReloading)
			_ = a.reloadNext(ctx) // it has told the log, and there is nobody else to tell
			notify(a.log, daemon.SdNotifyReady)
		case <-ctx.Done():
			return
		}
	}
}

// notify tells systemd, if it is there.
func notify(log *zap.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("cannot tell systemd how it goes", zap.Error(err))
	}
}
