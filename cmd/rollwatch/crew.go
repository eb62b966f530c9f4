package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/flags"
	"github.com/rollwatch/rollwatch/verdict"
	"github.com/rollwatch/rollwatch/verdict/webhook"
)

// A crew is what runs by one configuration. A reload hires the next one before
// it dismisses this one.
type crew struct {
	config    *Config
	targets   *targetSet
	deliverer *webhook.Deliverer
	scraper   *collector.Scraper // not run yet; nil once it runs
	engine    *verdict.Engine

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// hire opens what a configuration asks for. Nothing runs yet.
func (a *app) hire(config *Config) (*crew, error) {
	targets, err := openTargets(config)
	if err != nil {
		return nil, refusedConfig(err)
	}
	scraper, err := a.newScraper(config)
	if err != nil {
		return nil, errors.Join(refusedConfig(err), targets.close())
	}
	return &crew{
		config: config, targets: targets, scraper: scraper,
		deliverer: webhook.New(webhook.Options{Webhooks: config.Webhooks, Ledger: a.ledger, Log: a.log}),
	}, nil
}

// newScraper makes what reads the services' own metrics.
func (a *app) newScraper(config *Config) (*collector.Scraper, error) {
	scraper, err := collector.NewScraper(a.window, collector.ScrapeOptions{
		Interval: time.Duration(config.Interval), Samples: config.Window.SamplesPerScrape,
	}, a.log)
	if err != nil {
		return nil, err
	}
	addresses := map[string][]collector.ScrapeTarget{}
	for _, s := range config.Services {
		addresses[s.Name] = s.Metrics.Scrape
	}
	return scraper, scraper.Replace(addresses)
}

// newEngine makes the crew's judge from what the ledger has under watch.
func (a *app) newEngine(ctx context.Context, c *crew) (*verdict.Engine, error) {
	engine, err := verdict.NewEngine(ctx, verdict.Options{
		Config: c.config.Judge, Services: c.config.Services, Gates: c.config.Gates,
		Window: a.window, Ledger: a.ledger, Interval: time.Duration(c.config.Interval),
		Inspect: a.schedule.Inspect, Flags: flagStores(c.config),
		Endpoints: webhook.Endpoints(c.config.Webhooks), OnOwed: c.deliverer.Wake, Log: a.log,
		Link: verdict.NewLinker(c.config.API.ExternalURL),
	})
	if err != nil {
		return nil, fmt.Errorf("take up the rollouts: %w", err)
	}
	c.engine = engine
	return engine, nil
}

// flagStores are where an application's feature flags are kept.
func flagStores(config *Config) []*flags.Config {
	var stores []*flags.Config
	for _, entry := range config.Targets {
		if store, ok := entry.Config.(*flags.Config); ok {
			stores = append(stores, store)
		}
	}
	return stores
}

// start sets everybody to work. A crew that was stopped can start again.
func (c *crew) start(a *app) {
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	scraper := c.scraper
	if c.scraper = nil; scraper == nil { // a scraper runs once
		var err error
		if scraper, err = a.newScraper(c.config); err != nil {
			a.broke(err)
			return
		}
	}
	feeder := collector.NewFeeder(a.schedule, c.engine.Figures, a.window, time.Duration(c.config.Interval), a.log)
	for _, run := range []func(context.Context) error{scraper.Run, feeder.Run} {
		c.done.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil { // whoever was told to end has not broken
				a.broke(err)
			}
		})
	}
	c.done.Go(func() { c.deliverer.Run(ctx) })
	c.done.Go(func() { c.engine.Run(ctx) })
}

// stop ends everybody's work, and waits for it.
func (c *crew) stop() {
	c.cancel()
	c.done.Wait()
}

// crewCollector collects from the crew in office; it describes nothing, because
// what there is depends on the configuration.
type crewCollector struct{ app *app }

// Describe implements prometheus.Collector.
func (crewCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c crewCollector) Collect(ch chan<- prometheus.Metric) { c.app.crew.Load().deliverer.Collect(ch) }
