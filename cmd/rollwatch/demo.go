package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rollwatch/rollwatch/internal/demo"
	"github.com/rollwatch/rollwatch/verdict"
)

// demoLogLevel lets only trouble into the story.
const demoLogLevel = "warn"

func newDemoCommand() *cobra.Command {
	var once bool
	listen := "127.0.0.1:9876"
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See the whole product do its job, with nothing to install",
		Long: `Starts PostgreSQL and Redis if the machine has them, an example service with a
stable and a canary version under steady traffic, workers, and a webhook
receiver, and rolls out a version that goes bad. The watch is squeezed into a
minute by configuration; what reads and judges is the daemon that serve runs.

It goes on until Ctrl-C. With --once it ends by itself, with exit code 0 only if
the verdict was rollback for the right reason and the webhook's signature held.`,
		Args: wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), listen, once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end by itself")
	cmd.Flags().StringVar(&listen, "web.listen-address", listen, "address to listen on; port 0 is any that is free")
	return cmd
}

// runDemo tells the story around a daemon of its own.
func runDemo(ctx context.Context, stdout, stderr io.Writer, listen string, once bool) (err error) {
	world, err := demo.Start(ctx)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, world.Close()) }()

	app, err := newApp(ctx, appOptions{
		loader: configLoader{file: world.ConfigFile(), lookup: os.LookupEnv},
		listen: []string{listen},
		log: newLog(logFlags{level: &choice{value: demoLogLevel}, format: &choice{value: logFormatConsole}}, stderr).
			WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return withoutVerdicts{core} })),
	})
	if err != nil {
		return err
	}
	app.start()
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, app.stop(stopping))
	}()

	server := "http://" + app.server.Addrs()[0].String()
	if err := world.Tell(ctx, stdout, server); err != nil || once {
		return interrupted(ctx, err)
	}
	fmt.Fprintf(stdout, demoEnding, server, demo.ServiceName, world.ConfigFile(), os.Args[0])
	select {
	case <-ctx.Done():
		return nil
	case err := <-app.broken:
		return fmt.Errorf("the daemon broke: %w", err)
	}
}

// withoutVerdicts is a log that leaves the verdicts to the story, which tells
// them to its readers: to them a warning is something that went wrong.
type withoutVerdicts struct{ zapcore.Core }

// With implements zapcore.Core.
func (c withoutVerdicts) With(fields []zapcore.Field) zapcore.Core {
	return withoutVerdicts{c.Core.With(fields)}
}

// Check implements zapcore.Core.
func (c withoutVerdicts) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if entry.Message == verdict.TransitionMessage {
		return checked
	}
	return c.Core.Check(entry, checked)
}

// interrupted is err, unless the user ended the demo: that is no failure.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// demoEnding says where to look around.
const demoEnding = `
The world goes on until Ctrl-C. Look around:
  %[1]s/metrics
  %[1]s/health
  %[1]s/api/v1/services/%[2]s/verdict
  %[4]s rollout list --server=%[1]s
  the configuration: %[3]s
`
