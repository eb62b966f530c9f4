package collector

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"
	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promcfg "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/scrape"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A ScrapeTarget is one /metrics address of a service, scraped into the window
// with job=<service>, instance=<host:port> and these labels. An empty URL
// leaves the target out.
type ScrapeTarget struct {
	URL    string            `yaml:"url" jsonschema:"required"`
	Labels map[string]string `yaml:"labels,omitempty"`
}

// Validate names what cannot be scraped.
func (t ScrapeTarget) Validate() []probe.Fault {
	var faults []probe.Fault
	if u, err := url.Parse(t.URL); t.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		faults = append(faults, probe.Fault{
			Path: "$.url", Problem: "it is not the address of a metrics page",
			Cure: "write it as http://host:port/metrics or https://host/metrics",
		})
	}
	for _, name := range slices.Sorted(maps.Keys(t.Labels)) {
		reserved := name == model.JobLabel || name == model.InstanceLabel || strings.HasPrefix(name, "__")
		if reserved || !model.LegacyValidation.IsValidLabelName(name) {
			faults = append(faults, probe.Fault{
				Path: "$.labels." + name, Problem: "it cannot be a label of a scraped service",
				Cure: "use letters, digits and _, and neither job nor instance, which rollwatch sets",
			})
		}
	}
	return faults
}

const (
	// scrapeTimeout bounds one scrape, together with the interval.
	scrapeTimeout = 10 * time.Second

	// scrapeBody bounds what one page may weigh.
	scrapeBody = 32 * units.MiB
)

// ScrapeOptions says how services are scraped.
type ScrapeOptions struct {
	Interval time.Duration
	Samples  int // a page with more fails

	// Dial replaces the network, for tests in memory.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Scraper reads the services' own metrics into the window, by the scrape
// manager of Prometheus.
type Scraper struct {
	opts    ScrapeOptions
	manager *scrape.Manager
	health  scrapeLog
	mu      sync.Mutex // guards sending to targets
	targets chan map[string][]*targetgroup.Group
}

// NewScraper makes a scraper that has nothing to scrape yet.
func NewScraper(window *Store, opts ScrapeOptions, log *zap.Logger) (*Scraper, error) {
	httpOpts := []commoncfg.HTTPClientOption{commoncfg.WithUserAgent("rollwatch")}
	if opts.Dial != nil {
		httpOpts = append(httpOpts, commoncfg.WithDialContextFunc(opts.Dial))
	}
	manager, err := scrape.NewManager(&scrape.Options{
		DiscoveryReloadInterval:  model.Duration(time.Second),
		DiscoveryReloadOnStartup: true,
		HTTPClientOptions:        httpOpts,
	}, newSeldom(bridge(log, "scrape")), nil, nil, window, prometheus.NewRegistry())
	if err != nil {
		return nil, fmt.Errorf("make the scraper: %w", err)
	}
	return &Scraper{
		opts: opts, manager: manager, health: scrapeLog{log: log},
		targets: make(chan map[string][]*targetgroup.Group, 1),
	}, nil
}

// Replace swaps what is scraped for the targets of these services, by name. When
// it refuses, nothing has changed.
func (s *Scraper) Replace(services map[string][]ScrapeTarget) error {
	// Load makes a configuration with all defaults; there is no other way to one.
	cfg, err := promcfg.Load("", bridge(zap.NewNop(), "scrape"))
	if err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	groups := map[string][]*targetgroup.Group{}
	seen := map[string]bool{}
	for _, service := range slices.Sorted(maps.Keys(services)) {
		if service == Job {
			return fmt.Errorf("scrape: a service cannot be named %s: that is the job of what rollwatch reads itself", Job)
		}
		for i, target := range services[service] {
			if target.URL == "" {
				continue
			}
			pool, group, err := s.pool(fmt.Sprintf("%s[%d]", service, i), service, target)
			if err != nil {
				return err
			}
			if err := pool.Validate(cfg.GlobalConfig); err != nil {
				return fmt.Errorf("scrape %s: %w", pool.JobName, err)
			}
			identity := group.Labels.String() + group.Targets[0].String()
			if seen[identity] {
				return fmt.Errorf("scrape %s: the same address is scraped twice with the same labels", pool.JobName)
			}
			seen[identity] = true
			cfg.ScrapeConfigs = append(cfg.ScrapeConfigs, pool)
			groups[pool.JobName] = []*targetgroup.Group{group}
		}
	}
	return s.apply(cfg, groups)
}

// apply gives the manager its pools first, then the targets for them.
func (s *Scraper) apply(cfg *promcfg.Config, groups map[string][]*targetgroup.Group) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.manager.ApplyConfig(cfg); err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	select {
	case <-s.targets: // not taken yet, and out of date
	default:
	}
	s.targets <- groups
	return nil
}

// pool is a target as the manager wants it. Each target has a pool of its own,
// for credentials belong to a pool.
func (s *Scraper) pool(name, service string, target ScrapeTarget) (*promcfg.ScrapeConfig, *targetgroup.Group, error) {
	u, err := url.Parse(target.URL)
	if err != nil || u.Host == "" {
		return nil, nil, fmt.Errorf("scrape %s: its url is not the address of a metrics page", name) // it may hold a password: not shown
	}
	pool := promcfg.DefaultScrapeConfig
	pool.JobName = name
	pool.Scheme = u.Scheme
	pool.MetricsPath = cmp.Or(u.Path, promcfg.DefaultScrapeConfig.MetricsPath)
	pool.Params = u.Query()
	pool.ScrapeInterval = model.Duration(s.opts.Interval)
	pool.ScrapeTimeout = model.Duration(min(s.opts.Interval, scrapeTimeout))
	pool.SampleLimit = uint(s.opts.Samples)
	pool.BodySizeLimit = scrapeBody
	// The window's times are ours: a service with a wrong clock must not have its
	// samples refused, or taken for those of another tick.
	pool.HonorTimestamps = false
	pool.ScrapeNativeHistograms = new(true)
	pool.AlwaysScrapeClassicHistograms = new(true) // gates count in their buckets
	pool.ScrapeFallbackProtocol = promcfg.PrometheusText0_0_4
	if password, ok := u.User.Password(); ok {
		pool.HTTPClientConfig.BasicAuth = &commoncfg.BasicAuth{Username: u.User.Username(), Password: commoncfg.Secret(password)}
	}

	address := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme]))
	group := &targetgroup.Group{
		Source:  name,
		Labels:  model.LabelSet{model.JobLabel: model.LabelValue(service)},
		Targets: []model.LabelSet{{model.AddressLabel: model.LabelValue(address)}},
	}
	for name, v := range target.Labels {
		group.Labels[model.LabelName(name)] = model.LabelValue(v)
	}
	return &pool, group, nil
}

// Run scrapes until ctx ends, and logs which target fails and which recovers. It
// must be called once.
func (s *Scraper) Run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.manager.Run(s.targets) }()
	s.followHealth(ctx)
	s.manager.Stop()
	if err := <-ended; err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	return nil
}

func (s *Scraper) followHealth(ctx context.Context) {
	tick := time.NewTicker(s.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.health.follow(s.manager.TargetsActive())
		}
	}
}
