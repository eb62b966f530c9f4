package alerts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// Detect is a service's `detect:` section: a version that shows itself without
// having been registered is registered by rollwatch. Without the section nothing is.
type Detect struct {
	// Strategy by which a version that was detected is judged.
	Strategy Strategy `yaml:"strategy,omitempty" jsonschema:"enum=rolling,enum=blue-green,enum=canary,default=rolling"`
	// From is where versions are seen: metrics, by the version_label of the requests, or health, by what the health endpoint and its replicas answer. Metrics by default where there is a version_label.
	From string `yaml:"from,omitempty" jsonschema:"enum=metrics,enum=health"`
}

// Where versions are seen.
const (
	versionsFromMetrics = "metrics"
	versionsFromHealth  = "health"
)

// The series by which health endpoints name their version.
const (
	healthVersion  = "rollwatch_http_version_info"
	replicaVersion = "rollwatch_http_replica_version_info"
	versionName    = "version" // their label
)

// FillIn completes the service's `detect:` section, if it has one.
func (s *Service) FillIn() {
	if s.Detect == nil {
		return
	}
	s.Detect.Strategy = cmp.Or(s.Detect.Strategy, Rolling)
	switch {
	case s.Detect.From != "":
	case s.VersionLabel != "" && hasMetrics(s):
		s.Detect.From = versionsFromMetrics
	case s.Health.URL != "":
		s.Detect.From = versionsFromHealth
	}
}

func (s *Service) validateDetect(f *faults) {
	if s.Detect == nil {
		return
	}
	if strategies := []Strategy{"", Rolling, BlueGreen, Canary}; !slices.Contains(strategies, s.Detect.Strategy) {
		f.add("$.detect.strategy", fmt.Sprintf("strategy %q is unknown", s.Detect.Strategy), "use rolling, blue-green or canary")
	}
	switch s.Detect.From {
	case "":
		if (s.VersionLabel == "" || !hasMetrics(s)) && s.Health.URL == "" {
			f.add("$.detect", "nothing tells the version of the service", "name version_label with metrics, or a health address that answers its version")
		}
	case versionsFromMetrics:
		if s.VersionLabel == "" || !hasMetrics(s) {
			f.add("$.detect.from", "no label of the service's own metrics tells its version", "name version_label and metrics, or use health")
		}
	case versionsFromHealth:
		if s.Health.URL == "" {
			f.add("$.detect.from", "the service has no health address", "name health.url, or use metrics")
		}
	default:
		f.add("$.detect.from", fmt.Sprintf("versions are not seen in %q", s.Detect.From), "use metrics or health")
	}
}

// A Sighting is the versions of a service that showed themselves in one
// reading: sorted, and none twice.
type Sighting struct {
	At       time.Time // of the first sample
	Versions []string
}

// Has says whether the version showed itself.
func (s Sighting) Has(version string) bool {
	_, has := slices.BinarySearch(s.Versions, version)
	return has
}

// Sightings reads which versions of scene.Service showed themselves in a stretch
// of time, reading by reading; readings that named none are left out. Only
// scene.Window, Service and Interval are looked at.
func Sightings(ctx context.Context, scene Scene, span Span) ([]Sighting, error) {
	label, matchers, err := scene.Service.versionSeries()
	if err != nil {
		return nil, err
	}
	series, err := scene.Window.Select(ctx, span.From, span.To, matchers...)
	if err != nil {
		return nil, fmt.Errorf("select the versions of %s: %w", scene.Service.Name, err)
	}
	type reading struct {
		at       int64
		versions map[string]bool
	}
	readings := map[int64]*reading{}
	interval := max(1, scene.Interval.Milliseconds())
	for _, s := range series {
		for _, p := range s.Points {
			r := readings[p.T/interval]
			if r == nil {
				r = &reading{at: p.T, versions: map[string]bool{}}
				readings[p.T/interval] = r
			}
			r.at = min(r.at, p.T)
			r.versions[s.Labels.Get(label)] = true
		}
	}
	sightings := make([]Sighting, 0, len(readings))
	for _, n := range slices.Sorted(maps.Keys(readings)) {
		r := readings[n]
		sightings = append(sightings, Sighting{At: time.UnixMilli(r.at).UTC(), Versions: slices.Sorted(maps.Keys(r.versions))})
	}
	return sightings, nil
}

// versionSeries select what names the service's versions, in which label.
func (s *Service) versionSeries() (label string, matchers []*labels.Matcher, err error) {
	if s.Detect.From == versionsFromHealth {
		return versionName, []*labels.Matcher{
			oneOf(model.MetricNameLabel, []string{healthVersion, replicaVersion}), equal("job", ProbeJob), equal("target", s.Name),
		}, nil
	}
	// Also those of health checks: they may be all that a new version has answered.
	matchers, err = s.requestSeries()
	return s.VersionLabel, append(matchers, labels.MustNewMatcher(labels.MatchNotEqual, s.VersionLabel, "")), err
}

// requestSeries select the service's requests, those of health checks and the
// like included.
func (s *Service) requestSeries() ([]*labels.Matcher, error) {
	if s.Metrics.Requests != "" {
		return s.selector(s.Metrics.Requests, "")
	}
	preset, err := s.preset()
	if err != nil {
		return nil, err
	}
	return s.selector(preset.Requests, "")
}

// A Newcomer is a version that began to show itself while others of its service
// were seen already.
type Newcomer struct {
	Version string
	Before  string    // the version that was seen most before it
	Since   time.Time // of the first reading that named it
}

// shownTwice is how many readings must name a version before it counts: one
// alone may be an answer of something else.
const shownTwice = 2

// Newcomers finds the versions that began to show themselves within the
// sightings, in the order in which they did.
func Newcomers(sightings []Sighting) []Newcomer {
	times := map[string]int{}
	since := map[string]int{}
	for i, s := range sightings {
		for _, v := range s.Versions {
			if times[v]++; times[v] == 1 {
				since[v] = i
			}
		}
	}
	var found []Newcomer
	for v, n := range times {
		if n < shownTwice || since[v] == 0 {
			continue
		}
		found = append(found, Newcomer{Version: v, Before: mostSeen(sightings[:since[v]]), Since: sightings[since[v]].At})
	}
	slices.SortFunc(found, func(a, b Newcomer) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Version, b.Version)) })
	return found
}

// IsFamiliar says whether a version that is not among the Newcomers was seen often
// enough, or long enough ago, to stay none.
func IsFamiliar(sightings []Sighting, version string) bool {
	times := 0
	for i, s := range sightings {
		if s.Has(version) {
			if times++; i == 0 || times >= shownTwice {
				return true
			}
		}
	}
	return false
}

// mostSeen is the version of the newest sighting that was seen most.
func mostSeen(sightings []Sighting) string {
	if len(sightings) == 0 {
		return ""
	}
	times := map[string]int{}
	for _, s := range sightings {
		for _, v := range s.Versions {
			times[v]++
		}
	}
	return slices.MinFunc(sightings[len(sightings)-1].Versions, func(a, b string) int {
		return cmp.Or(cmp.Compare(times[b], times[a]), cmp.Compare(a, b))
	})
}

// settled is how many readings in a row must name the old version and not the
// new one before the new one counts as gone: behind a balancer that answers for
// both, a few that name one of them say nothing.
const settled = 8

// MayBeGone says whether the newest sightings are such that Replaced can find a
// version gone, whatever was before them.
func MayBeGone(sightings []Sighting, version string) bool {
	return len(sightings) >= settled &&
		!slices.ContainsFunc(sightings[len(sightings)-settled:], func(s Sighting) bool { return s.Has(version) })
}

// Replaced says since when a version that was seen before has not been seen any
// more while the other was in each reading; false when that is not so.
func Replaced(sightings []Sighting, version, by string) (since time.Time, gone bool) {
	n := 0
	for _, s := range slices.Backward(sightings) {
		if s.Has(version) || !s.Has(by) {
			break
		}
		since = s.At
		n++
	}
	before := sightings[:len(sightings)-n]
	return since, n >= settled && slices.ContainsFunc(before, func(s Sighting) bool { return s.Has(version) })
}
