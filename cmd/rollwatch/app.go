package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/api"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/verdict"
)

// appOptions are what the daemon is started with, besides its configuration.
type appOptions struct {
	loader    configLoader
	listen    []string // addresses; a port 0 is any that is free
	webConfig string   // path of the web configuration file, or empty
	log       *zap.Logger
}

// An app is the whole daemon, which a test can run too: newApp binds and opens
// everything, start runs it, stop ends it.
type app struct {
	opts     appOptions
	log      *zap.Logger
	window   *collector.Store
	ledger   *verdict.Ledger
	schedule *collector.Schedule
	judge    judge
	handler  *api.Handler
	server   *api.Server
	status   *reloadStatus
	broken   chan error // what ended without being told to

	crew      atomic.Pointer[crew] // what runs by the configuration in force
	reloading turn                 // of a reload, with the reading of its files
	busy      turn                 // of start, of applying a configuration and of stop
	stops     []stopStep           // by whoever has busy
	stopped   bool                 // by whoever has busy
}

// newApp wires the daemon. Whatever can be refused (the configuration, a port,
// a folder, a file) is refused here, and what was opened until then is given back.
func newApp(ctx context.Context, opts appOptions) (_ *app, err error) {
	a := &app{opts: opts, log: opts.log, status: newReloadStatus(), broken: make(chan error, 1), reloading: newTurn(), busy: newTurn()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.stop(context.WithoutCancel(ctx)))
		}
	}()

	config, err := opts.loader.loadWithFiles()
	if err != nil {
		return nil, refusedConfig(err)
	}
	for _, notice := range config.Notices {
		a.log.Warn(notice)
	}
	if err := os.MkdirAll(config.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}

	// What remembers, across reloads.
	if a.window, err = collector.Open(config.DataDir, config.Window, a.log); err != nil {
		return nil, err
	}
	a.onStop("close the window", func(context.Context) error { return a.window.Close() })
	if a.ledger, err = verdict.OpenLedger(filepath.Join(config.DataDir, "ledger.db")); err != nil {
		return nil, err
	}
	a.onStop("close the ledger", func(context.Context) error { return a.ledger.Close() })

	// What reads and judges, by this configuration.
	crew, err := a.hire(config)
	if err != nil {
		return nil, err
	}
	a.crew.Store(crew)
	if a.schedule, err = collector.NewSchedule(crew.targets.targets, a.log); err != nil {
		return nil, errors.Join(err, crew.targets.close())
	}
	a.read()
	if err := a.judge.succeed(func() (*verdict.Engine, error) { return a.newEngine(ctx, crew) }); err != nil {
		return nil, err
	}

	// What answers.
	metrics := collector.NewExposition(a.schedule, a.newRegistry(), a.log)
	flush, err := collector.StartTelemetry(ctx, metrics.Gatherer(), a.log)
	if err != nil {
		return nil, err
	}
	a.onStop("send the telemetry that is left", within(flushTimeout, flush))
	a.encode(metrics)
	if a.handler, err = a.newHandler(config, metrics); err != nil {
		return nil, err
	}
	a.server, err = api.Listen(opts.listen, opts.webConfig, a.handler, a.log)
	return a, err
}

func (a *app) newHandler(config *Config, metrics http.Handler) (*api.Handler, error) {
	return api.New(api.Options{
		Config:  config.API,
		Judge:   &a.judge,
		Targets: func() []collector.Status { return a.schedule.Statuses(time.Now()) },
		Degraded: func() map[string]string {
			return map[string]string{"judge": a.judge.now().Degraded(), "window": a.window.Degraded()}
		},
		Metrics:  metrics,
		Reload:   a.reload,
		Interval: time.Duration(config.Interval),
		Version:  buildVersion(),
		Log:      a.log,
	})
}

// start runs what newApp has wired.
func (a *app) start() {
	_ = a.busy.take(context.Background()) // nobody stops what has not been started
	defer a.busy.give()
	a.onStop("stop judging", func(context.Context) error { a.crew.Load().stop(); return nil })
	a.crew.Load().start(a)
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		if err := a.server.Serve(); err != nil {
			a.broke(err)
		}
	}()
	a.onStop("stop serving", within(drainTimeout, func(ctx context.Context) error {
		err := a.server.Shutdown(ctx)
		<-serving
		return err
	}))
	for _, address := range a.server.Addrs() {
		a.log.Info("listening", zap.Stringer("address", address), zap.String("version", buildVersion()))
	}
}

// broke tells that a part has ended which should not have.
func (a *app) broke(err error) {
	select {
	case a.broken <- err:
	default: // the first is told already
	}
}

// A stopStep ends one part of the daemon.
type stopStep struct {
	name string
	do   func(context.Context) error
}

// onStop registers how a part ends, as soon as it has begun; the last begun
// ends first, so that nothing outlives what it stands on.
func (a *app) onStop(name string, do func(context.Context) error) {
	a.stops = append(a.stops, stopStep{name, do})
}

// The parts of stopTimeout for which others may be waited for: clients that
// read slowly, and a telemetry endpoint that is not there.
const (
	drainTimeout = 3 * time.Second
	flushTimeout = 2 * time.Second
)

// within bounds how long ending a part may take.
func within(limit time.Duration, do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return do(ctx)
	}
}

// read runs the schedule from now until the daemon stops.
func (a *app) read() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.schedule.Run(ctx) }()
	a.onStop("stop reading", func(context.Context) error {
		cancel()
		// Whoever waits for a Redis that hangs hears of the end by its connection only.
		err := a.crew.Load().targets.links.Close()
		return errors.Join(<-done, err)
	})
}

// encode prepares the pages of metrics from now until the daemon stops.
func (a *app) encode(metrics *collector.Exposition) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); metrics.Run(ctx) }()
	a.onStop("stop encoding", func(context.Context) error { cancel(); <-done; return nil })
}

// stop ends everything in order: unready and drained first, then judging and
// reading, and what remembers last.
//
// The end of ctx wins over whatever hangs: what a step stands on is then left
// open under it, as a crash would leave it.
func (a *app) stop(ctx context.Context) error {
	if err := a.busy.take(ctx); err != nil {
		return fmt.Errorf("wait for the reload under way: %w", err)
	}
	defer a.busy.give()
	a.stopped = true
	var errs []error
	for _, step := range slices.Backward(a.stops) {
		if err := orGiveUp(ctx, step.do); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", step.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	a.stops = nil
	return errors.Join(errs...)
}

// orGiveUp waits for do no longer than for ctx.
func orGiveUp(ctx context.Context, do func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A turn is a lock that can be waited for within a context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn until ctx ends.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tryTake takes the turn if nobody has it.
func (t turn) tryTake() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) give() { <-t }

// newRegistry holds every metric of the daemon itself; those of the targets come
// from the schedule.
func (a *app) newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(processCollectors()...)
	registry.MustRegister(a.window, &a.judge, a.status, crewCollector{a})
	return registry
}
