package alerts

import (
	"fmt"
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

// saidVersions is how many versions are named at most: a label may hold anything.
const saidVersions = 5

// arms tell the series of what is judged from the series of what it is
// compared with.
type arms struct {
	subject selection
	control Labels
	idle    Labels          // the canary track where no canary is judged: its scrapes say nothing
	version string          // the label that tells versions apart, where it is there
	scope   Labels          // how the subject is named to readers
	ours    map[string]bool // instances that served the version under the rollout
	others  map[string]bool // instances that serve nothing but other versions now; of a canary that is told by its track: those on it
	former  map[string]bool // instances that served nothing but other versions, and serve none now
	tracked bool            // a canary is judged, and told by its track
	seen    []string        // versions that were seen
	byPod   bool            // count the subject by instance as well
	without Labels          // what is left out of both arms
}

// A selection is the series that have all labels of one set, not those of another,
// and no other value of a label of a third than it says: whoever serves another
// version is not judged for this one, and whoever names none may serve it.
type selection struct{ with, without, unlessOther Labels }

func (s selection) match(l labels.Labels) bool {
	for name, value := range s.unlessOther {
		if told := l.Get(name); told != "" && told != value {
			return false
		}
	}
	return s.with.match(l) && (len(s.without) == 0 || !s.without.match(l))
}

// String writes the selection as a selector does.
func (s selection) String() string {
	parts := []string{strings.ReplaceAll(s.without.String(), `="`, `!="`), s.with.String(), s.unlessOther.String()}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", ")
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
	if a.tracked && service.VersionLabel != "" {
		a.lookAtTrack(requests, scene)
	}
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

// lookAtTrack finds what is served where the canary is: that somebody registered a
// version does not make it the one that is there.
func (a *arms) lookAtTrack(requests []collector.Series, scene Scene) {
	there := slices.DeleteFunc(slices.Clone(requests), func(s collector.Series) bool { return !a.subject.with.match(s.Labels) })
	versions := map[string]bool{}
	for _, s := range there {
		if v := s.Labels.Get(scene.Service.VersionLabel); v != "" {
			versions[v] = true
		}
	}
	a.seen = slices.Sorted(maps.Keys(versions))
	_, a.others = a.serving(there, scene.Now.Add(-staleAfter(scene.Interval)))
}

// armsOf are the arms of a service whose series tell their version, or do not,
// without the instances.
func armsOf(scene Scene, versioned bool) arms {
	service, subject := scene.Service, scene.Subject
	var idle Labels
	if canary, ok := service.Tracks[canaryTrack]; ok && subject.judgesCanary() {
		a := arms{subject: selection{with: canary}, control: service.Tracks[stableTrack], scope: canary, tracked: true}
		if service.VersionLabel != "" {
			a.subject.unlessOther = Labels{service.VersionLabel: subject.Version}
		}
		return a
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
		maps.Equal(a.subject.without, b.subject.without) && maps.Equal(a.subject.unlessOther, b.subject.unlessOther) && maps.Equal(a.control, b.control)
}

// isSubject says whether a series is of what is judged.
func (a arms) isSubject(l labels.Labels) bool { return a.subject.match(l) }

// sought says which series are judged, and which versions there are in their place.
func (a arms) sought() string {
	subject := a.subject
	if len(a.seen) == 0 {
		subject.unlessOther = nil // not even another version is there
		return subject.String()
	}
	seen := a.seen[:min(len(a.seen), saidVersions)]
	text := subject.String() + "; there is " + strings.Join(seen, ", ")
	if more := len(a.seen) - len(seen); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

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
	if a.isIdle(l) || a.servesOthers(l) {
		return false
	}
	return a.version != "" || a.subject.match(l)
}

// servesOthers says whether a series is of an instance that serves other versions
// only, and where a canary is told by its track: is on it all the same.
func (a arms) servesOthers(l labels.Labels) bool { return a.others[l.Get(model.InstanceLabel)] }

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
