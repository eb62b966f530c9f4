package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/verdict"
)

// statuses says with which status each code is answered.
var statuses = map[verdict.Code]int{
	verdict.Invalid:      http.StatusBadRequest,
	verdict.NotFound:     http.StatusNotFound,
	verdict.Conflict:     http.StatusConflict,
	verdict.Unauthorized: http.StatusUnauthorized,
	verdict.TooLarge:     http.StatusRequestEntityTooLarge,
	verdict.Unavailable:  http.StatusServiceUnavailable,
	verdict.Internal:     http.StatusInternalServerError,
}

// problem is the body of every refusal.
type problem struct {
	Error *verdict.Error `json:"error"`
}

// fail answers with err.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	refusal := h.refusal(r, err)
	status, ok := statuses[refusal.Code]
	if !ok {
		status = http.StatusInternalServerError
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="rollwatch"`)
	case http.StatusServiceUnavailable:
		setRetryAfter(w, cmp.Or(refusal.RetryAfter, h.opts.Interval))
	}
	shown := *refusal // what was sent is quoted in it, and may be of any length
	shown.Message, shown.Field = bounded(shown.Message), bounded(shown.Field)
	h.reply(w, status, problem{&shown})
}

// errInternal is all that a client is told of an error that was not made for it.
var errInternal = &verdict.Error{Code: verdict.Internal, Message: "internal error; the log of rollwatch says more"}

// refusal is what the client is told of err. What is not made for it is logged
// and said to be internal: its text may tell more than a client should know.
func (h *Handler) refusal(r *http.Request, err error) *verdict.Error {
	if refusal, ok := errors.AsType[*verdict.Error](err); ok {
		return refusal
	}
	if r.Context().Err() != nil {
		// Too slow, or the client is gone. Never silence: an answer that is not
		// written is a 200, and an open gate.
		return &verdict.Error{Code: verdict.Unavailable, Message: "it took too long; try again"}
	}
	h.opts.Log.Error("cannot answer", zap.String("method", r.Method), zap.String("path", r.URL.Path), zap.Error(err))
	return errInternal
}

// maxShown bounds a text that quotes what was sent, in characters.
const maxShown = 400

// bounded cuts a text that quotes what was sent.
func bounded(text string) string {
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown]) + "..."
	}
	return text
}

// setRetryAfter tells the client when to ask again.
func setRetryAfter(w http.ResponseWriter, after time.Duration) {
	seconds := max(1, int((after+time.Second-1)/time.Second))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
}

// reply writes body as JSON, whole or not at all: what cannot be encoded is
// answered as an internal error in place of half a document.
func (h *Handler) reply(w http.ResponseWriter, status int, body any) {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false) // "5xx > 1%" is read by people
	if err := encoder.Encode(body); err != nil {
		h.opts.Log.Error("cannot encode an answer", zap.Error(err))
		encoded.Reset()
		fmt.Fprintf(&encoded, `{"error":{"code":%q,"message":"the answer cannot be encoded"}}`+"\n", verdict.Internal)
		status = http.StatusInternalServerError
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.Header().Set("Content-Length", strconv.Itoa(encoded.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(encoded.Bytes()) // a client that is gone reads nothing
}

// An answer is a ResponseWriter that knows whether it has begun.
type answer struct {
	http.ResponseWriter

	begun bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// recover turns a panic of a handler into an internal error; an answer that has
// begun is broken off, so that nobody takes half of it for the whole.
func (h *Handler) recover(w *answer, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { //nolint:errorlint // it is the very value that net/http compares with
		panic(cause)
	}
	h.opts.Log.Error("a handler panicked", zap.String("method", r.Method), zap.String("path", r.URL.Path),
		zap.Any("cause", cause), zap.ByteString("stack", debug.Stack()))
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	w.Header().Del("Content-Type")
	h.reply(w, http.StatusInternalServerError, problem{errInternal})
}
