package collector

import (
	"fmt"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Config is the `window:` section: how much of the past is kept, and how much
// one target may put into it.
type Config struct {
	Retention        model.Duration   `yaml:"retention,omitempty" jsonschema:"type=string"` // 48h by default
	Size             units.Base2Bytes `yaml:"size,omitempty" jsonschema:"type=string"`      // on disk, 1GiB by default
	SeriesPerTarget  int              `yaml:"series_per_target,omitempty"`                  // what is over is dropped
	SamplesPerScrape int              `yaml:"samples_per_scrape,omitempty"`                 // a scrape with more fails
}

// DefaultConfig is what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Retention:        model.Duration(48 * time.Hour),
		Size:             units.GiB,
		SeriesPerTarget:  20_000,
		SamplesPerScrape: 50_000,
	}
}

// The least of each: a rolling rollout is watched for two hours and compared
// with the hour before it, and the log of the newest hours alone needs its room.
const (
	minRetention = 4 * time.Hour
	minSize      = 128 * units.MiB
)

// Validate names what a window cannot work with.
func (c Config) Validate() []probe.Fault {
	var faults []probe.Fault
	refuse := func(path, problem, least, standard string) {
		faults = append(faults, probe.Fault{
			Path: "$." + path, Problem: problem,
			Cure: fmt.Sprintf("give at least %s; the default is %s", least, standard),
		})
	}
	standard := DefaultConfig()
	if time.Duration(c.Retention) < minRetention {
		refuse("retention", fmt.Sprintf("%s is too short to judge a rollout by", c.Retention),
			model.Duration(minRetention).String(), standard.Retention.String())
	}
	if c.Size < minSize {
		refuse("size", fmt.Sprintf("%s is too small", c.Size), minSize.String(), standard.Size.String())
	}
	if c.SeriesPerTarget < 1 {
		refuse("series_per_target", fmt.Sprintf("%d leaves nothing", c.SeriesPerTarget), "1", fmt.Sprint(standard.SeriesPerTarget))
	}
	if c.SamplesPerScrape < 1 {
		refuse("samples_per_scrape", fmt.Sprintf("%d leaves nothing", c.SamplesPerScrape), "1", fmt.Sprint(standard.SamplesPerScrape))
	}
	return faults
}
