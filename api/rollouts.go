package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rollwatch/rollwatch/verdict"
)

// The sizes of a page of a list.
const (
	defaultPage = 50
	maxPage     = 500
)

func (h *Handler) register(w http.ResponseWriter, r *http.Request) error {
	var told struct {
		verdict.Registration
		StartedAt *time.Time `json:"started_at"`
	}
	if err := h.decode(r, "Registration", &told); err != nil {
		return err
	}
	if told.StartedAt != nil {
		if told.StartedAt.IsZero() { // which would stand for now
			return invalid("started_at", "is the first moment of the year 1; say when the rollout began, or leave it out for now")
		}
		told.Registration.StartedAt = *told.StartedAt
	}
	rollout, created, err := h.opts.Judge.Register(r.Context(), told.Registration, r.Header.Get("Idempotency-Key"))
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", "/api/v1/rollouts/"+url.PathEscape(rollout.ID))
	}
	h.reply(w, status, rollout)
	return nil
}

func (h *Handler) showRollout(w http.ResponseWriter, r *http.Request) error {
	rollout, err := h.opts.Judge.Rollout(r.Context(), pathValue(r, "id"))
	return h.replyRollout(w, rollout, err)
}

func (h *Handler) replyRollout(w http.ResponseWriter, rollout verdict.Rollout, err error) error {
	if err != nil {
		return err
	}
	h.reply(w, http.StatusOK, rollout)
	return nil
}

func (h *Handler) listRollouts(w http.ResponseWriter, r *http.Request) error {
	page, err := readPage(r)
	if err != nil {
		return err
	}
	rollouts, next, err := h.opts.Judge.Rollouts(r.Context(), r.URL.Query().Get("service"), page)
	if err != nil {
		return err
	}
	h.reply(w, http.StatusOK, struct {
		Rollouts []verdict.Rollout `json:"rollouts"`
		Next     string            `json:"next,omitempty"`
	}{orEmpty(rollouts), next})
	return nil
}

func (h *Handler) stageRollout(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Weight *float64 `json:"weight"`
		Note   string   `json:"note"`
	}
	if err := h.decode(r, "NewStage", &body); err != nil {
		return err
	}
	stage := verdict.Stage{Weight: body.Weight, Note: body.Note}
	rollout, err := h.opts.Judge.AddStage(r.Context(), pathValue(r, "id"), stage)
	return h.replyRollout(w, rollout, err)
}

func (h *Handler) finishRollout(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Outcome verdict.Outcome `json:"outcome"`
	}
	if err := h.decode(r, "Finish", &body); err != nil {
		return err
	}
	rollout, err := h.opts.Judge.Finish(r.Context(), pathValue(r, "id"), body.Outcome)
	return h.replyRollout(w, rollout, err)
}

// overrideRollout records a decision under the name of the token that was sent,
// whatever name the request would like to have.
func (h *Handler) overrideRollout(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Verdict verdict.Word `json:"verdict"`
		Reason  string       `json:"reason"`
		Until   time.Time    `json:"until"`
	}
	if err := h.decode(r, "NewOverride", &body); err != nil {
		return err
	}
	rollout, err := h.opts.Judge.SetOverride(r.Context(), pathValue(r, "id"), verdict.Override{
		Verdict: body.Verdict, Reason: body.Reason, Author: author(r.Context()), Until: body.Until,
	})
	return h.replyRollout(w, rollout, err)
}

func (h *Handler) listDeliveries(w http.ResponseWriter, r *http.Request) error {
	page, err := readPage(r)
	if err != nil {
		return err
	}
	deliveries, next, err := h.opts.Judge.Deliveries(r.Context(), page)
	if err != nil {
		return err
	}
	h.reply(w, http.StatusOK, struct {
		Deliveries []verdict.Delivery `json:"deliveries"`
		Next       string             `json:"next,omitempty"`
	}{orEmpty(deliveries), next})
	return nil
}

func (h *Handler) replayDelivery(w http.ResponseWriter, r *http.Request) error {
	delivery, err := h.opts.Judge.ReplayDelivery(r.Context(), pathValue(r, "id"))
	if err != nil {
		return err
	}
	h.reply(w, http.StatusOK, delivery)
	return nil
}

// reload applies the configuration file; what is wrong with it is the answer.
func (h *Handler) reload(w http.ResponseWriter, r *http.Request) error {
	err := h.opts.Reload(r.Context())
	if refusal, ok := errors.AsType[*verdict.Error](err); ok {
		return refusal // it was not tried
	}
	if err != nil {
		return &verdict.Error{Code: verdict.Invalid, Message: "the configuration was refused, the old one stays: " + err.Error()}
	}
	h.reply(w, http.StatusOK, state{Status: "reloaded"})
	return nil
}

func (h *Handler) serveContract(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(Contract) // a client that is gone reads nothing
	return nil
}

func readPage(r *http.Request) (verdict.Page, error) {
	query := r.URL.Query()
	page := verdict.Page{Limit: defaultPage, Cursor: query.Get("cursor")}
	if text := query.Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 || limit > maxPage {
			return page, invalid("limit", fmt.Sprintf("is %q; it is a number from 1 to %d", text, maxPage))
		}
		page.Limit = limit
	}
	return page, nil
}

// orEmpty makes an empty list an empty list in JSON too, not null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func invalid(field, problem string) error {
	return &verdict.Error{Code: verdict.Invalid, Message: field + ": " + problem, Field: field}
}

func unavailable(message string) error {
	return &verdict.Error{Code: verdict.Unavailable, Message: message}
}
