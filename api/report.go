package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
	"github.com/rollwatch/rollwatch/verdict/report"
)

const (
	// maxPictures bounds how many gates a report draws: those that decided come first.
	maxPictures = 12
	// drawTime is how long the pictures of a report may take together; those that
	// are not ready then are left out, and the report says so.
	drawTime = 10 * time.Second
)

// report answers with the draft of a post-mortem, or with the picture of one gate.
func (h *Handler) report(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	format, gate := query.Get("format"), query.Get("gate")
	switch {
	case format != "" && format != "markdown" && format != "svg":
		return invalid("format", "is "+bounded(format)+"; it is markdown or svg")
	case format == "svg" && gate == "":
		return invalid("gate", "is missing; a picture is of one gate")
	}
	history, err := h.opts.Judge.History(r.Context(), pathValue(r, "id"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), drawTime)
	defer cancel()
	now := time.Now().UTC()
	findings, _ := report.Findings(history)
	if format == "svg" {
		return h.picture(ctx, w, history, findings, gate, now)
	}
	draft := report.Report{History: history, Now: now}
	for _, f := range findings[:min(len(findings), maxPictures)] {
		draft.Pictures = append(draft.Pictures, h.draw(ctx, history, f, now))
	}
	reply(w, "text/markdown; charset=utf-8", []byte(draft.Markdown()))
	return nil
}

func (h *Handler) picture(ctx context.Context, w http.ResponseWriter, history verdict.History, findings []alerts.Finding, gate string, now time.Time) error {
	i := slices.IndexFunc(findings, func(f alerts.Finding) bool { return f.Gate == gate })
	if i < 0 {
		return &verdict.Error{Code: verdict.NotFound, Message: "gate " + bounded(gate) + " has judged nothing of this rollout", Field: "gate"}
	}
	// A picture that is opened by itself is a document of this origin.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	reply(w, "image/svg+xml", h.draw(ctx, history, findings[i], now).SVG())
	return nil
}

// draw reads from the window what the gate saw.
func (h *Handler) draw(ctx context.Context, history verdict.History, f alerts.Finding, now time.Time) report.Picture {
	var series promql.Matrix
	var err error
	if f.Query != "" {
		from, to := report.Span(history, now)
		series, err = h.opts.Judge.Draw(ctx, f.Query, from, to, report.Steps)
	}
	picture := report.NewPicture(history, f, series, now)
	if err != nil {
		h.opts.Log.Warn("cannot draw a gate", zap.String("rollout", history.Rollout.ID), zap.String("gate", f.Gate), zap.Error(err))
		picture.Why = "the window could not be read; the log says why"
	}
	return picture
}

// reply writes a whole body of a media type.
func reply(w http.ResponseWriter, media string, body []byte) {
	w.Header().Set("Content-Type", media)
	_, _ = w.Write(body) //nolint:gosec // G705: the report escapes what comes from outside, and a fuzz test holds it to that; a client that is gone reads nothing
}
