package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/verdict"
)

// events streams the verdicts on a rollout until the client leaves or the
// daemon does. Only an unknown rollout is refused: a judge that is stale now
// may be back before the stream is over.
func (h *Handler) events(w http.ResponseWriter, r *http.Request) error {
	id := pathValue(r, "id")
	_, err := h.opts.Judge.Document(r.Context(), id)
	if err != nil && !isUnavailable(err) {
		return err
	}
	release, err := h.keepOpen(w)
	if err != nil {
		return err
	}
	defer release()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the events back
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, leave := h.whileHere(r.Context())
	defer leave()
	s := &stream{w: w, control: http.NewResponseController(w), seq: lastEvent(r)}
	for ctx.Err() == nil {
		if err := s.step(ctx, h.opts.Judge, id); err != nil {
			h.opts.Log.Debug("an event stream ended", zap.String("rollout", id), zap.Error(err))
			break
		}
	}
	return nil
}

// lastEvent is the seq after which a client that lost its connection resumes.
func lastEvent(r *http.Request) int64 {
	if seq, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		return seq
	}
	return -1 // before every seq: the verdict as it is comes first
}

// A stream is what one client of events was told.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	seq     int64     // of the newest verdict sent
	asOf    time.Time // of the newest judgement sent
	mute    bool      // was told that the judge has nothing to say
}

// step waits for a change, at most until the next sign of life is due, and
// sends what there is to tell.
func (s *stream) step(ctx context.Context, judge Judge, id string) error {
	beat, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	document, err := judge.Await(beat, id, s.seq)
	if err == nil && document.Seq > s.seq {
		s.seq, s.asOf, s.mute = document.Seq, document.AsOf, false
		return s.send("verdict", strconv.FormatInt(document.Seq, 10), complete(document))
	}
	refusal, refused := errors.AsType[*verdict.Error](err)
	if refused && !s.mute {
		s.mute = true
		return s.send("unavailable", "", problem{refusal})
	}
	<-beat.Done() // Await may answer at once that it cannot answer
	if ctx.Err() != nil {
		return fmt.Errorf("wait for an event: %w", ctx.Err())
	}
	if err == nil && document.AsOf.After(s.asOf) {
		s.asOf, s.mute = document.AsOf, false
		return s.send("judgement", "", complete(document))
	}
	return s.write([]byte(": still here\n\n"))
}

func (s *stream) send(event, id string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "event: %s\n", event)
	if id != "" {
		fmt.Fprintf(&text, "id: %s\n", id)
	}
	fmt.Fprintf(&text, "data: %s\n\n", encoded)
	return s.write(text.Bytes())
}

func (s *stream) write(text []byte) error {
	giveTime(s.w)
	defer takeTime(s.w)
	if _, err := s.w.Write(text); err != nil {
		return fmt.Errorf("write an event: %w", err)
	}
	if err := s.control.Flush(); err != nil {
		return fmt.Errorf("send an event: %w", err)
	}
	return nil
}

func isUnavailable(err error) bool {
	refusal, ok := errors.AsType[*verdict.Error](err)
	return ok && refusal.Code == verdict.Unavailable
}
