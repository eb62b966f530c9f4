package feature

import (
	"slices"
	"time"
)

// A tenant is what is known of the feature for one tenant.
type tenant struct {
	name      string
	tried     time.Time // the end of the newest try; zero before the first
	succeeded time.Time // the newest try that worked; zero if none did
	failing   time.Time // the first of the tries that failed in a row; zero while it works
	failures  int       // tries that failed in a row
	why       string    // why the newest did
	gone      bool      // it is no tenant any more
}

// took notes how a try went that ended at a time.
func (t *tenant) took(at time.Time, err error) {
	t.tried = at
	if err == nil {
		t.succeeded, t.failing, t.failures, t.why = at, time.Time{}, 0, ""
		return
	}
	if t.failures == 0 {
		t.failing = at
	}
	t.failures++
	t.why = err.Error()
}

// broken says whether it failed twice in a row: once may be a pod that left.
func (t *tenant) broken() bool { return t.failures >= 2 }

// A line is the order in which tenants are tried. Whoever was tried longest ago
// is next; whoever has just failed once is tried again before that, so that
// "twice in a row" is soon known, but never for more than half of the tries:
// where everything fails, the others get their turn all the same.
type line struct {
	byName   map[string]*tenant
	waiting  []*tenant // the longest untried first
	suspects []*tenant // failed once
}

func newLine() *line { return &line{byName: map[string]*tenant{}} }

// admit makes the names the tenants of the line. New ones are tried first.
func (l *line) admit(names []string) {
	known := make(map[string]*tenant, len(names))
	var fresh []*tenant
	for _, name := range names {
		t := l.byName[name]
		if t == nil {
			t = &tenant{name: name}
			fresh = append(fresh, t)
		}
		known[name] = t
	}
	for name, t := range l.byName {
		t.gone = known[name] == nil
	}
	l.byName = known
	l.waiting = slices.Concat(fresh, present(l.waiting))
	l.suspects = present(l.suspects)
}

func present(tenants []*tenant) []*tenant {
	kept := tenants[:0]
	for _, t := range tenants {
		if !t.gone {
			kept = append(kept, t)
		}
	}
	return kept
}

// next takes those out of the line who are to be tried now, at most n.
func (l *line) next(now time.Time, interval time.Duration, n int) []*tenant {
	retries := min(len(l.suspects), (n+1)/2)
	taken := append([]*tenant(nil), l.suspects[:retries]...)
	l.suspects = l.suspects[retries:]
	due := 0
	for due < len(l.waiting) && len(taken) < n && now.Sub(l.waiting[due].tried) >= interval {
		taken = append(taken, l.waiting[due])
		due++
	}
	l.waiting = l.waiting[due:]
	return taken
}

// keep gives those their turn back who were taken out of the line and not tried.
func (l *line) keep(tenants []*tenant) {
	var suspects, waiting []*tenant
	for _, t := range present(slices.Clone(tenants)) {
		if t.failures == 1 {
			suspects = append(suspects, t)
		} else {
			waiting = append(waiting, t)
		}
	}
	l.suspects = slices.Concat(suspects, l.suspects)
	l.waiting = slices.Concat(waiting, l.waiting)
}

// back puts those at the end of the line who were tried.
func (l *line) back(tenants []*tenant) {
	for _, t := range tenants {
		switch {
		case t.gone:
		case t.failures == 1:
			l.suspects = append(l.suspects, t)
		default:
			l.waiting = append(l.waiting, t)
		}
	}
}
