package alerts

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/collector"
)

// The names of the two tracks a canary is told by.
const (
	canaryTrack = "canary"
	stableTrack = "stable"
)

// arms tell the series of what is judged from the series of what it is
// compared with.
type arms struct {
	subject selection
	control Labels
	idle    Labels          // the canary track where no canary is judged: its scrapes say nothing
	version string          // the label that tells versions apart, where it is there
	scope   Labels          // how the subject is named to readers
	ours    map[string]bool // instances that served the version under the rollout
	others  map[string]bool // instances that serve nothing but other versions now
	former  map[string]bool // instances that served nothing but other versions, and serve none now
	tracked bool            // a canary is judged, and told by its track
	seen    []string        // versions that were seen
	byPod   bool            // count the subject by instance as well
	without Labels          // what is left out of both arms
}

// A selection is the series that have all labels of one set, and not those of
// another.
type selection struct{ with, without Labels }

func (s selection) match(l labels.Labels) bool {
	return s.with.match(l) && (len(s.without) == 0 || !s.without.match(l))
}

// String writes the selection as a selector does.
func (s selection) String() string {
	return strings.ReplaceAll(s.without.String(), `="`, `!="`) + s.with.String()
}

// judgesCanary says whether the new version is where the canary is. After its
// promotion deploy tools scale the canary to nothing.
func (s Subject) judgesCanary() bool { return s.Strategy == Canary && !s.Promoted }

// tell finds how new is told from old in the service's series of requests.
func tell(scene Scene, requests []collector.Series) arms {
	service, subject := scene.Service, scene.Subject
	versions := map[string]bool{}
	for _, s := range requests {
		if v := s.Labels.Get(service.VersionLabel); v != "" {
			versions[v] = true
		}
	}
	a := armsOf(scene, service.VersionLabel != "" && len(versions) > 0)
	if a.version == "" {
		return a
	}
	a.seen = slices.Sorted(maps.Keys(versions))
	a.ours, a.former = a.serving(requests, subject.StartedAt.Add(-time.Millisecond))
	ours, others := a.serving(requests, scene.Now.Add(-staleAfter(scene.Interval)))
	a.others = others
	maps.DeleteFunc(a.former, func(instance string, _ bool) bool { return ours[instance] || others[instance] })
	return a
}

// armsOf are the arms of a service whose series tell their version, or do not,
// without the instances.
func armsOf(scene Scene, versioned bool) arms {
	service, subject := scene.Service, scene.Subject
	var idle Labels
	if canary, ok := service.Tracks[canaryTrack]; ok && subject.judgesCanary() {
		return arms{subject: selection{with: canary}, control: service.Tracks[stableTrack], scope: canary, tracked: true}
	} else if ok {
		idle = canary
	}
	if !versioned {
		return arms{subject: selection{without: idle}, idle: idle}
	}
	ours := Labels{service.VersionLabel: subject.Version}
	return arms{subject: selection{with: ours}, version: service.VersionLabel, idle: idle, scope: ours}
}

// serving finds the instances that served the version since then, and those
// that served nothing but other ones.
func (a arms) serving(requests []collector.Series, since time.Time) (ours, others map[string]bool) {
	ours, others = map[string]bool{}, map[string]bool{}
	for _, s := range requests {
		if s.Points[len(s.Points)-1].T <= since.UnixMilli() {
			continue
		}
		if instance := s.Labels.Get(model.InstanceLabel); a.isSubject(s.Labels) {
			ours[instance] = true
		} else {
			others[instance] = true
		}
	}
	maps.DeleteFunc(others, func(instance string, _ bool) bool { return ours[instance] })
	return ours, others
}

// same says whether both tell the same series apart.
func (a arms) same(b arms) bool {
	return a.version == b.version && a.tracked == b.tracked && maps.Equal(a.subject.with, b.subject.with) &&
		maps.Equal(a.subject.without, b.subject.without) && maps.Equal(a.control, b.control)
}

// isSubject says whether a series is of what is judged.
func (a arms) isSubject(l labels.Labels) bool { return a.subject.match(l) }

// isControl says whether a series is of what the subject is compared with.
func (a arms) isControl(l labels.Labels) bool {
	if a.version != "" {
		return l.Get(a.version) != a.subject.with[a.version]
	}
	return len(a.control) > 0 && a.control.match(l)
}

// scrapes says whether an `up` series is of what is judged. It carries no
// version, so any address counts that does not serve other versions now: a
// version that never answered has no series that could name it.
func (a arms) scrapes(l labels.Labels) bool {
	if a.isIdle(l) {
		return false
	}
	if a.version != "" {
		return !a.others[l.Get(model.InstanceLabel)]
	}
	return a.subject.match(l)
}

// isIdle says whether an `up` series is of a canary where none is judged.
func (a arms) isIdle(l labels.Labels) bool { return len(a.idle) > 0 && a.idle.match(l) }

// match says whether a series has all the labels.
func (want Labels) match(l labels.Labels) bool {
	for name, value := range want {
		if l.Get(name) != value {
			return false
		}
	}
	return true
}

// String writes the labels as a selector does, in order of their names.
func (want Labels) String() string {
	parts := make([]string, 0, len(want))
	for _, name := range slices.Sorted(maps.Keys(want)) {
		parts = append(parts, name+"="+strconv.Quote(want[name]))
	}
	return strings.Join(parts, ", ")
}
