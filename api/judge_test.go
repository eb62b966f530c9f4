package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rollwatch/rollwatch/verdict"
)

// A fakeJudge keeps rollouts in memory and says what the test told it to.
type fakeJudge struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at each change
	rollouts  []verdict.Rollout
	documents map[string]verdict.Document
	keys      map[string]string
	owed      []verdict.Delivery
	err       error // answered by everything, when set
	hanging   bool  // nothing is answered before the request's context ends
}

func newFakeJudge() *fakeJudge {
	return &fakeJudge{changed: make(chan struct{}), documents: map[string]verdict.Document{}, keys: map[string]string{}}
}

// say judges the rollout: a transition when the verdict is another one.
func (j *fakeJudge) say(id string, change func(*verdict.Document)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	document := j.documents[id]
	before := document.Verdict
	document.AsOf = time.Now().UTC()
	document.ValidUntil = document.AsOf.Add(45 * time.Second)
	change(&document)
	if document.Verdict != before {
		document.Seq++
	}
	j.documents[id] = document
	j.announce()
}

func (j *fakeJudge) announce() {
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *fakeJudge) breakWith(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.err = err
	j.announce()
}

func (j *fakeJudge) hang() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hanging = true
}

func (j *fakeJudge) patience(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.hanging {
		return nil
	}
	<-ctx.Done()
	return fmt.Errorf("read the ledger: %w", ctx.Err())
}

func (j *fakeJudge) Register(_ context.Context, reg verdict.Registration, key string) (verdict.Rollout, bool, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return verdict.Rollout{}, false, j.err
	}
	if id, known := j.keys[key]; known {
		rollout, err := j.find(id)
		return *rollout, false, err
	}
	id := fmt.Sprintf("r-%d-%s", len(j.rollouts)+1, reg.Service)
	rollout := verdict.Rollout{ID: id, Registration: reg, RegisteredAt: time.Now().UTC()}
	if key != "" {
		j.keys[key] = id
	}
	j.rollouts = append([]verdict.Rollout{rollout}, j.rollouts...)
	j.documents[id] = verdict.Document{
		Schema: verdict.Schema, Rollout: id, Service: reg.Service, Version: reg.Version, Strategy: reg.Strategy,
		Verdict: verdict.Continue, OK: true, Phase: "0-5m", Progress: "watching", Seq: 1,
		AsOf: time.Now().UTC(), ValidUntil: time.Now().Add(45 * time.Second).UTC(),
	}
	return rollout, true, nil
}

func (j *fakeJudge) find(id string) (*verdict.Rollout, error) {
	if j.err != nil {
		return &verdict.Rollout{}, j.err
	}
	for i := range j.rollouts {
		if j.rollouts[i].ID == id {
			return &j.rollouts[i], nil
		}
	}
	return &verdict.Rollout{}, &verdict.Error{Code: verdict.NotFound, Message: "there is no rollout " + id}
}

func (j *fakeJudge) Rollout(ctx context.Context, id string) (verdict.Rollout, error) {
	if err := j.patience(ctx); err != nil {
		return verdict.Rollout{}, err
	}
	return j.change(id, func(*verdict.Rollout) {})
}

func (j *fakeJudge) change(id string, change func(*verdict.Rollout)) (verdict.Rollout, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	rollout, err := j.find(id)
	if err == nil {
		change(rollout)
	}
	return *rollout, err
}

func (j *fakeJudge) Rollouts(_ context.Context, service string, page verdict.Page) ([]verdict.Rollout, string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []verdict.Rollout
	for _, rollout := range j.rollouts {
		if service == "" || rollout.Service == service {
			list = append(list, rollout)
		}
	}
	if len(list) > page.Limit {
		return list[:page.Limit], "more", j.err
	}
	return list, "", j.err
}

func (j *fakeJudge) AddStage(_ context.Context, id string, stage verdict.Stage) (verdict.Rollout, error) {
	return j.change(id, func(r *verdict.Rollout) { r.Stages = append(r.Stages, stage) })
}

func (j *fakeJudge) Finish(_ context.Context, id string, outcome verdict.Outcome) (verdict.Rollout, error) {
	return j.change(id, func(r *verdict.Rollout) { r.Outcome, r.FinishedAt = outcome, time.Now().UTC() })
}

func (j *fakeJudge) SetOverride(_ context.Context, id string, override verdict.Override) (verdict.Rollout, error) {
	return j.change(id, func(r *verdict.Rollout) { r.Override = &override })
}

func (j *fakeJudge) Document(ctx context.Context, id string) (verdict.Document, error) {
	if err := j.patience(ctx); err != nil {
		return verdict.Document{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := j.find(id)
	return j.documents[id], err
}

func (j *fakeJudge) Newest(_ context.Context, service string) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, rollout := range j.rollouts {
		if rollout.Service == service {
			return rollout.ID, nil
		}
	}
	return "", &verdict.Error{Code: verdict.NotFound, Message: "there is no rollout of " + service}
}

func (j *fakeJudge) Await(ctx context.Context, id string, seq int64) (verdict.Document, error) {
	for {
		j.mu.Lock()
		_, err := j.find(id)
		document, changed := j.documents[id], j.changed
		j.mu.Unlock()
		if err != nil || document.Seq > seq {
			return document, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return document, nil
		}
	}
}

func (j *fakeJudge) Deliveries(_ context.Context, page verdict.Page) ([]verdict.Delivery, string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.owed[:min(len(j.owed), page.Limit)], "", j.err
}

func (j *fakeJudge) ReplayDelivery(_ context.Context, id string) (verdict.Delivery, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.owed {
		if j.owed[i].ID == id {
			j.owed[i].State = verdict.Owed
			return j.owed[i], nil
		}
	}
	return verdict.Delivery{}, &verdict.Error{Code: verdict.NotFound, Message: "there is no delivery " + id}
}
