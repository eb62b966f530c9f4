package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

// A targetSet is the opened probes of a configuration with the connections
// that they share.
type targetSet struct {
	targets []collector.Target
	links   *redis.Links
}

// openTargets opens a probe for everything that the configuration says is to
// be read. Nothing is dialled. Kinds that cannot be read yet are passed over;
// the configuration's notices name them.
func openTargets(c *Config) (*targetSet, error) {
	set := &targetSet{links: redis.NewLinks(targetsOf[*redis.Config](c)...)}
	for _, entry := range slices.Concat(c.Targets, c.serviceTargets()) {
		if err := set.open(c, entry.Kind, entry.Config); err != nil {
			return nil, errors.Join(err, set.close())
		}
	}
	return set, nil
}

func (s *targetSet) open(c *Config, kind probes.Kind, config probe.Config) error {
	opened, err := config.Open(s.links)
	if err != nil {
		return fmt.Errorf("open %s %s: %w", kind.Name, config.TargetName(), err)
	}
	s.targets = append(s.targets, collector.Target{
		Kind: kind.Name, Name: config.TargetName(), Required: config.RequiredTarget(),
		Interval: time.Duration(c.Interval), Timeout: c.timeout(kind), Budget: c.Window.SeriesPerTarget, Probe: opened,
	})
	return nil
}

// close gives back what was opened. Probes that a schedule has taken are the
// schedule's to close.
func (s *targetSet) close() error { return errors.Join(s.closeProbes(), s.links.Close()) }

func (s *targetSet) closeProbes() error {
	var errs []error
	for _, t := range s.targets {
		errs = append(errs, t.Probe.Close())
	}
	return errors.Join(errs...)
}
