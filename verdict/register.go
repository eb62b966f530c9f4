package verdict

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// learnFrom is how far back the ledger is asked for rolled-back rollouts when
// a baseline is taken: a week, as far as the window may hold, and the hours
// around it.
const learnFrom = 8 * 24 * time.Hour

// Register records a rollout and begins to watch it. With the idempotency key
// of an earlier registration it returns that one, and false; so it does where
// the version was detected a moment ago, and the rollout takes over what is told
// of it now. A newer rollout of a service supersedes the older.
func (e *Engine) Register(ctx context.Context, reg Registration, idempotencyKey string) (Rollout, bool, error) {
	now := time.Now().UTC()
	hash, err := requestHash(reg)
	if err != nil {
		return Rollout{}, false, err
	}
	if err := checkKey(idempotencyKey); err != nil {
		return Rollout{}, false, err
	}
	if known, ok, err := e.opts.Ledger.byKey(ctx, idempotencyKey, hash); ok || err != nil {
		return known, false, err
	}
	s, err := e.admit(&reg, now)
	if err != nil {
		return Rollout{}, false, err
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	if known, ok, err := e.opts.Ledger.byKey(ctx, idempotencyKey, hash); ok || err != nil {
		return known, false, err // sent twice at the same time
	}
	told := registration{rollout: Rollout{Registration: reg}, key: idempotencyKey, request: hash}
	if r, ok, err := e.adoptDetected(ctx, told, now); ok || err != nil {
		return r, false, err
	}
	r, err := e.enroll(ctx, s, told, now)
	return r, err == nil, err
}

// enroll measures the baseline of a rollout, records it, and begins to watch it.
// The caller holds s.registering.
func (e *Engine) enroll(ctx context.Context, s *service, reg registration, now time.Time) (Rollout, error) {
	r := &reg.rollout
	r.ID, r.RegisteredAt, r.Notes = rolloutID(r.Service, now), now, notesOn(s.Service, r.Registration)
	var err error
	if r.Baseline, err = e.takeBaseline(ctx, s, *r, now); err != nil {
		return Rollout{}, e.unavailable(err)
	}
	r.Schemas, reg.schemas = e.freezeSchemas(ctx, s)
	registered, err := e.opts.Ledger.register(ctx, reg)
	if err != nil {
		return Rollout{}, e.unavailable(err)
	}
	return e.begin(context.WithoutCancel(ctx), registered), nil
}

// notesOn says what a rollout cannot be judged by, as its service is configured:
// whoever registers it should not learn that from what is not found.
func notesOn(s *alerts.Service, reg Registration) []string {
	if reg.Strategy != alerts.Canary || reg.Kind == KindOfRollback {
		return nil
	}
	if why := s.Incomparable(); why != "" {
		return []string{why}
	}
	return nil
}

// begin takes a registered rollout under watch, closes those it supersedes, and
// judges it for the first time. What cannot be judged now is judged at the next
// tick: the rollout is on record.
func (e *Engine) begin(ctx context.Context, r Rollout) Rollout {
	w := newWatch(r, Document{})
	e.mu.Lock()
	var before []*watch
	for _, other := range e.watches {
		if old, _ := other.now(); old.Service == r.Service && !old.Final {
			before = append(before, other)
		}
	}
	e.watches[r.ID] = w
	e.newest[r.Service] = r.ID
	e.mu.Unlock()
	for _, other := range before {
		_ = e.alter(ctx, other, nil, func(old Rollout) (Rollout, error) {
			if old.SupersededBy == "" {
				old.SupersededBy = r.ID
			}
			return old, nil
		}) // the watch remembers what went wrong, and the next tick tries again
	}
	_ = e.judge(ctx, w) // likewise
	judged, _ := w.now()
	return judged
}

// admit refuses a registration that cannot be judged, and fills in what it left out.
func (e *Engine) admit(reg *Registration, now time.Time) (*service, error) {
	s, ok := e.services[reg.Service]
	if !ok {
		return nil, invalid("service", "service %q is not in the configuration; it must be one of: %s", shortened(reg.Service), strings.Join(e.serviceNames(), ", "))
	}
	if reg.Kind == "" {
		reg.Kind = Deploy
	}
	if reg.StartedAt.IsZero() {
		reg.StartedAt = now
	}
	if err := reg.validate(); err != nil {
		return nil, err
	}
	if ahead := reg.StartedAt.Sub(now); ahead > maxClockSkew {
		return nil, invalid("started_at", "started_at is %s in the future; register a rollout when it starts", rounded(ahead))
	} else if ahead > 0 {
		reg.StartedAt = now // two clocks seldom agree
	}
	if age, watch := now.Sub(reg.StartedAt), e.policy.Watch(reg.Strategy); age > watch {
		return nil, invalid("started_at", "started_at is %s ago, but a %s rollout is watched for %s only", rounded(age), reg.Strategy, rounded(watch))
	}
	reg.StartedAt = reg.StartedAt.UTC()
	return s, nil
}

func (e *Engine) serviceNames() []string {
	var names []string
	for _, s := range e.opts.Services {
		names = append(names, s.Name)
	}
	return names
}

// takeBaseline measures what the service was like before the rollout, leaving
// out the times in which something was rolled back.
func (e *Engine) takeBaseline(ctx context.Context, s *service, r Rollout, now time.Time) (alerts.Baseline, error) {
	not, err := e.opts.Ledger.spansNotToLearnFrom(ctx, r.Service, now.Add(-learnFrom), now)
	if err != nil {
		return alerts.Baseline{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, maxReading)
	defer cancel()
	baseline, err := e.opts.TakeBaseline(ctx, s.gates, e.scene(s, r, now), not)
	if err != nil {
		return alerts.Baseline{}, fmt.Errorf("take the baseline of %s: %w", r.Service, err)
	}
	return baseline, nil
}

// requestHash tells registrations apart that come with the same key.
func requestHash(reg Registration) (string, error) {
	text, err := json.Marshal(reg)
	if err != nil {
		return "", invalid("", "the registration cannot be written as JSON: %v", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// rolloutID is readable and sorts by time: r-20261123-0412-api.
func rolloutID(service string, now time.Time) string {
	safe := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			return c
		default:
			return '-'
		}
	}, service)
	return "r-" + now.Format("20060102-1504") + "-" + safe
}
