package api

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/munnerz/goautoneg"

	"github.com/rollwatch/rollwatch/collector"
)

// The media types of a health document.
const (
	mediaJSON       = "application/json"
	mediaHealthJSON = "application/health+json"
)

// A selection says which targets a health path speaks of.
type selection func(collector.Status) bool

func everything(collector.Status) bool { return true }

// nothing leaves the process itself.
func nothing(collector.Status) bool { return false }

// backing selects what a service cannot work without: a queue with failed jobs
// or another service that is down must not take it out of its load balancer.
func backing(s collector.Status) bool {
	return s.Required && (s.Kind == "postgres" || s.Kind == "redis")
}

// A check is the health of one target at one time.
type check struct {
	collector.Status

	problem string // why it counts as down; empty when it is up
}

func (c check) key() string { return c.Kind + ":" + c.Name }

// checkTarget says whether the target counts as up at now. What was not read
// yet, or not lately, is not known to be well.
func checkTarget(s collector.Status, now time.Time) check {
	c := check{Status: s}
	switch {
	case s.Started.IsZero():
		c.problem = "not read yet"
	case !s.Up && s.Err != nil:
		c.problem = s.Err.Error()
	case !s.Up:
		c.problem = "it could not be read"
	case !s.Fresh(now):
		c.problem = fmt.Sprintf("last read %s ago", now.Sub(s.LastSuccess).Round(time.Second))
	default:
		c.problem = s.Reading.Ill
	}
	return c
}

// health answers with the targets of one selection, by Accept in the shape of
// NestJS Terminus or of application/health+json.
func (h *Handler) health(which selection) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		now := time.Now()
		checks := []check{}
		failed := false
		for _, status := range h.opts.Targets() {
			if !which(status) {
				continue
			}
			c := checkTarget(status, now)
			failed = failed || (c.Required && c.problem != "")
			checks = append(checks, c)
		}
		if which(collector.Status{Kind: ownKind}) {
			checks = append(checks, h.ownChecks(now)...)
		}
		status := http.StatusOK
		if failed {
			status = http.StatusServiceUnavailable
		}
		w.Header().Add("Vary", "Accept")
		if goautoneg.Negotiate(r.Header.Get("Accept"), []string{mediaJSON, mediaHealthJSON}) == mediaHealthJSON {
			w.Header().Set("Content-Type", mediaHealthJSON)
			h.reply(w, status, healthJSON(checks, failed, h.opts.Version))
			return nil
		}
		h.reply(w, status, terminus(checks, failed))
		return nil
	}
}

// ownKind is the kind of the daemon's own parts in a health document. They are in it
// only while they cannot do all they should, and are not required: what was asked
// for is the health of the targets, which they do not change.
const ownKind = "rollwatch"

// ownChecks are the parts of the daemon that cannot do all they should.
func (h *Handler) ownChecks(now time.Time) []check {
	var checks []check
	parts := h.opts.Degraded()
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		if why := parts[part]; why != "" {
			checks = append(checks, check{Status: collector.Status{Kind: ownKind, Name: part, Started: now}, problem: why})
		}
	}
	return checks
}

// terminus is the shape that @nestjs/terminus answers. A target that is down
// and not required stands under error while the status stays ok.
func terminus(checks []check, failed bool) map[string]any {
	info, down, details := map[string]any{}, map[string]any{}, map[string]any{}
	for _, c := range checks {
		indicator := indicate(c)
		details[c.key()] = indicator
		if c.problem == "" {
			info[c.key()] = indicator
		} else {
			down[c.key()] = indicator
		}
	}
	status := "ok"
	if failed {
		status = "error"
	}
	return map[string]any{"status": status, "info": info, "error": down, "details": details}
}

// indicate is one entry; the target's own details do not replace ours.
func indicate(c check) map[string]any {
	indicator := maps.Clone(c.Reading.Details)
	if indicator == nil {
		indicator = map[string]any{}
	}
	indicator["status"] = "up"
	indicator["responseTime"] = milliseconds(c.Duration)
	indicator["required"] = c.Required
	if c.problem != "" {
		indicator["status"] = "down"
		indicator["message"] = c.problem
	}
	if c.Reading.Warning != "" {
		indicator["warning"] = c.Reading.Warning
	}
	if !c.LastSuccess.IsZero() {
		indicator["lastSuccess"] = c.LastSuccess.UTC()
	}
	return indicator
}

// healthJSON is the shape of draft-inadarei-api-health-check, in which a
// target that is down and not required is a warning, as is one that is up and
// should be changed all the same.
func healthJSON(checks []check, failed bool, version string) map[string]any {
	details := make(map[string]any, len(checks))
	overall := "pass"
	for _, c := range checks {
		entry := map[string]any{"componentType": c.Kind, "status": "pass", "observedValue": milliseconds(c.Duration), "observedUnit": "ms"}
		if said := cmp.Or(c.problem, c.Reading.Warning); said != "" {
			entry["status"], entry["output"] = "warn", said
			overall = "warn"
		}
		if c.problem != "" && c.Required {
			entry["status"] = "fail"
		}
		if !c.Started.IsZero() {
			entry["time"] = c.Started.UTC()
		}
		details[c.key()] = []any{entry}
	}
	if failed {
		overall = "fail"
	}
	return map[string]any{
		"status": overall, "version": "1", "releaseId": version,
		"description": "health of what rollwatch reads", "checks": details,
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// state is the body of the paths that speak of the daemon itself.
type state struct {
	Status   string            `json:"status"`
	Degraded map[string]string `json:"degraded,omitempty"` // by part of the daemon: why it cannot do all it should
}

func (h *Handler) healthy(w http.ResponseWriter, _ *http.Request) error {
	h.reply(w, http.StatusOK, state{Status: "healthy"})
	return nil
}

// ready says whether every target was read once, well or not, and whether the
// daemon is here to stay. One that can record nothing is ready still, and says so: a
// rollback that latched, and what else is on record, must be answered, and nobody who
// is sent elsewhere could be told. What must be stored first is refused by itself.
func (h *Handler) ready(w http.ResponseWriter, _ *http.Request) error {
	if h.draining.Err() != nil {
		return unavailable("rollwatch is going away")
	}
	if !h.seenAll.Load() {
		if slices.ContainsFunc(h.opts.Targets(), func(s collector.Status) bool { return s.Started.IsZero() }) {
			return unavailable("not every target has been read yet")
		}
		h.seenAll.Store(true)
	}
	degraded := maps.Clone(h.opts.Degraded())
	maps.DeleteFunc(degraded, func(_, why string) bool { return why == "" })
	h.reply(w, http.StatusOK, state{Status: "ready", Degraded: degraded})
	return nil
}
