package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/version"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/verdict"
)

// The refusals of a reload that was not tried.
var (
	errReloading = &verdict.Error{Code: verdict.Unavailable, Message: "another reload is under way; ask again when it is over", RetryAfter: time.Second}
	errEnding    = &verdict.Error{Code: verdict.Unavailable, Message: "the daemon is ending"}
)

// reload reads the configuration anew: it is applied, or refused whole. Beside
// another reload it is not tried.
func (a *app) reload(ctx context.Context) error {
	if !a.reloading.tryTake() {
		return errReloading
	}
	defer a.reloading.give()
	return a.reloadNow(ctx)
}

// reloadNext is reload for who cannot ask again: it waits for its turn.
func (a *app) reloadNext(ctx context.Context) error {
	if err := a.reloading.take(ctx); err != nil {
		return err
	}
	defer a.reloading.give()
	return a.reloadNow(ctx)
}

func (a *app) reloadNow(ctx context.Context) error {
	// Whoever asked may go away; half a reload helps nobody.
	err := a.applyAnew(context.WithoutCancel(ctx))
	if errors.Is(err, errEnding) {
		return err
	}
	a.status.set(err, time.Now())
	if err != nil {
		a.log.Error("the configuration was refused, the old one stays", zap.Error(err))
		return err
	}
	for _, notice := range a.crew.Load().config.Notices {
		a.log.Warn(notice)
	}
	a.log.Info("the configuration was reloaded")
	return nil
}

// applyAnew does what can fail before it touches what runs; the little that
// can fail after that is taken back.
func (a *app) applyAnew(ctx context.Context) (err error) {
	// Files may hang with the disk that they are on, and the end of the daemon
	// must not wait for that.
	config, err := a.opts.loader.loadWithFiles()
	if err != nil {
		return err
	}
	if !a.busy.tryTake() { // only the end can have it here
		return errEnding
	}
	defer a.busy.give()
	if a.stopped {
		return errEnding
	}
	old := a.crew.Load()
	if err := sameHome(old.config, config); err != nil {
		return err
	}
	next, err := a.hire(config)
	if err != nil {
		return err
	}
	if err := a.handler.Configure(config.API); err != nil {
		return errors.Join(err, next.targets.close())
	}
	old.stop()
	err = a.judge.succeed(func() (*verdict.Engine, error) { return a.newEngine(ctx, next) })
	if err == nil {
		err = a.schedule.Replace(next.targets.targets)
	}
	if err != nil {
		err = errors.Join(err, a.judge.succeed(func() (*verdict.Engine, error) { return a.newEngine(ctx, old) }))
		old.start(a)
		return errors.Join(err, a.handler.Configure(old.config.API), next.targets.close())
	}
	a.crew.Store(next)
	next.start(a)
	return old.targets.links.Close()
}

// sameHome refuses what only a restart can change.
func sameHome(old, next *Config) error {
	if old.DataDir != next.DataDir {
		return fmt.Errorf("data_dir changes from %s to %s, which needs a restart", old.DataDir, next.DataDir)
	}
	if old.Window.Retention != next.Window.Retention || old.Window.Size != next.Window.Size {
		return errors.New("the size or the retention of the window changes, which needs a restart")
	}
	return nil
}

// reloadStatus tells how the newest reload went, as Prometheus tells it of itself.
type reloadStatus struct{ successful, at prometheus.Gauge }

func newReloadStatus() *reloadStatus {
	s := &reloadStatus{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollwatch_config_last_reload_successful", Help: "Whether the newest reload of the configuration was applied.",
		}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollwatch_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was applied.",
		}),
	}
	s.set(nil, time.Now())
	return s
}

func (s *reloadStatus) set(err error, now time.Time) {
	if err != nil {
		s.successful.Set(0)
		return
	}
	s.successful.Set(1)
	s.at.Set(float64(now.UnixMilli()) / 1000)
}

// Describe implements prometheus.Collector.
func (s *reloadStatus) Describe(ch chan<- *prometheus.Desc) {
	s.successful.Describe(ch)
	s.at.Describe(ch)
}

// Collect implements prometheus.Collector.
func (s *reloadStatus) Collect(ch chan<- prometheus.Metric) {
	s.successful.Collect(ch)
	s.at.Collect(ch)
}

// processCollectors tell of the program itself.
func processCollectors() []prometheus.Collector {
	return []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "rollwatch_build_info", Help: "1, labelled with what this program was built from.",
			ConstLabels: prometheus.Labels{"version": buildVersion(), "revision": version.GetRevision(), "goversion": version.GoVersion},
		}, func() float64 { return 1 }),
	}
}
