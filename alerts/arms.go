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
	subject, control Labels
	version          string          // the label that tells versions apart, where it is there
	scope            Labels          // how the subject is named to readers
	others           map[string]bool // instances that serve nothing but other versions now
	seen             []string        // versions that were seen
	byPod            bool            // count the subject by instance as well
}

// tell finds how new is told from old in the service's series of requests.
func tell(scene Scene, requests []collector.Series) arms {
	service, subject := scene.Service, scene.Subject
	if canary, ok := service.Tracks[canaryTrack]; ok && subject.Strategy == Canary {
		return arms{subject: canary, control: service.Tracks[stableTrack], scope: canary}
	}
	versions := map[string]bool{}
	for _, s := range requests {
		if v := s.Labels.Get(service.VersionLabel); v != "" {
			versions[v] = true
		}
	}
	if service.VersionLabel == "" || len(versions) == 0 {
		return arms{}
	}
	a := arms{
		subject: Labels{service.VersionLabel: subject.Version}, version: service.VersionLabel,
		scope: Labels{service.VersionLabel: subject.Version}, seen: slices.Sorted(maps.Keys(versions)),
	}
	a.others = a.serveOthers(requests, scene.Now.Add(-staleAfter(scene.Interval)))
	return a
}

// serveOthers finds the instances whose series since then are all of other versions.
func (a arms) serveOthers(requests []collector.Series, since time.Time) map[string]bool {
	others, ours := map[string]bool{}, map[string]bool{}
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
	return others
}

// isSubject says whether a series is of what is judged.
func (a arms) isSubject(l labels.Labels) bool { return a.subject.match(l) }

// isControl says whether a series is of what the subject is compared with.
func (a arms) isControl(l labels.Labels) bool {
	if a.version != "" {
		return l.Get(a.version) != a.subject[a.version]
	}
	return len(a.control) > 0 && a.control.match(l)
}

// scrapes says whether an `up` series is of what is judged. It carries no
// version, so any address counts that does not serve other versions now: a
// version that never answered has no series that could name it.
func (a arms) scrapes(l labels.Labels) bool {
	if a.version != "" {
		return !a.others[l.Get(model.InstanceLabel)]
	}
	return a.subject.match(l)
}

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
