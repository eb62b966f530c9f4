package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/rollwatch/rollwatch/verdict"
)

// A finder says of which rollout a path speaks.
type finder func(r *http.Request) (string, error)

func byID(r *http.Request) (string, error) { return pathValue(r, "id"), nil }

// byService finds the newest rollout of the service.
func (h *Handler) byService(r *http.Request) (string, error) {
	return h.opts.Judge.Newest(r.Context(), pathValue(r, "service"))
}

// document answers 200 with the verdict, whatever it says.
func (h *Handler) document(find finder) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		waiting, err := readWaiting(r)
		if err != nil {
			return err
		}
		id, err := find(r)
		if err != nil {
			return err
		}
		document, err := h.opts.Judge.Document(r.Context(), id)
		if err != nil {
			return err
		}
		if waiting.appliesTo(document) {
			if document, err = h.await(w, r, id, waiting); err != nil {
				return err
			}
		}
		h.reply(w, http.StatusOK, complete(document))
		return nil
	}
}

// complete gives the document its lists, so that no poller meets a null.
func complete(document verdict.Document) verdict.Document {
	document.Reasons = orEmpty(document.Reasons)
	document.Missing = orEmpty(document.Missing)
	return document
}

// A waiting is what ?wait= and ?seq= ask for.
type waiting struct {
	longest time.Duration // 0: not at all
	seq     int64         // what the client knows already
	newest  bool          // it names none: the newest at the time
}

// appliesTo says whether there is anything to wait for.
func (a *waiting) appliesTo(document verdict.Document) bool {
	if a.newest {
		a.seq = document.Seq
	}
	return a.longest > 0 && document.Seq <= a.seq
}

func readWaiting(r *http.Request) (*waiting, error) {
	query := r.URL.Query()
	asked := &waiting{newest: !query.Has("seq")}
	if query.Has("wait") {
		longest, err := time.ParseDuration(query.Get("wait"))
		if err != nil || longest < 0 || longest > maxWait {
			return nil, invalid("wait", fmt.Sprintf("is %q; it is a time from 0s to %s, as in 8s", query.Get("wait"), maxWait))
		}
		asked.longest = longest
	}
	if !asked.newest {
		seq, err := strconv.ParseInt(query.Get("seq"), 10, 64)
		if err != nil || seq < 0 {
			return nil, invalid("seq", fmt.Sprintf("is %q; it is the seq of a verdict, a number from 0", query.Get("seq")))
		}
		asked.seq = seq
	}
	if r.Method == http.MethodHead {
		asked.longest = 0
	}
	return asked, nil
}

func (h *Handler) await(w http.ResponseWriter, r *http.Request, id string, asked *waiting) (verdict.Document, error) {
	release, err := h.keepOpen(w)
	if err != nil {
		return verdict.Document{}, err
	}
	defer release()
	ctx, leave := h.whileHere(r.Context())
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, asked.longest)
	defer cancel()
	return h.opts.Judge.Await(ctx, id, asked.seq)
}

// keepOpen takes one of the places for long answers, and lifts the deadline
// that the server sets for short ones. The caller gives the place back when
// there is nothing left but to write the end.
func (h *Handler) keepOpen(w http.ResponseWriter) (release func(), err error) {
	select {
	case h.long <- struct{}{}:
	default:
		return nil, unavailable(fmt.Sprintf("%d clients are waiting for verdicts already", maxLong))
	}
	takeTime(w)
	return func() {
		giveTime(w)
		<-h.long
	}, nil
}

// giveTime bounds the next write to a client that has kept a connection open.
func giveTime(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)) // a writer without deadlines has none to set
}

// takeTime lifts the deadline of writes: HTTP/2 ends a stream when it is over,
// even one on which nothing is being written.
func takeTime(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
}

// gateAnswer is the body of a gate: what a hook shows to people.
type gateAnswer struct {
	Gate     string       `json:"gate"`
	Open     bool         `json:"open"`
	Rollout  string       `json:"rollout"`
	Service  string       `json:"service"`
	Version  string       `json:"version"`
	Verdict  verdict.Word `json:"verdict"`
	Final    bool         `json:"final"`
	DryRun   bool         `json:"dryRun"`
	Seq      int64        `json:"seq"`
	Progress string       `json:"progress"`
}

// gate answers with the verdict as a status code.
func (h *Handler) gate(find finder) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := find(r)
		if err != nil {
			return err
		}
		document, err := h.opts.Judge.Document(r.Context(), id)
		if err != nil {
			return err
		}
		name := mux.Vars(r)["gate"]
		status, ok := document.Gates().Of(name)
		if !ok {
			return notFound(w, r)
		}
		if status == http.StatusServiceUnavailable {
			setRetryAfter(w, h.opts.Interval)
		}
		h.reply(w, status, gateAnswer{
			Gate: name, Open: status == http.StatusOK, Rollout: document.Rollout, Service: document.Service, Version: document.Version,
			Verdict: document.Verdict, Final: document.Final, DryRun: document.DryRun, Seq: document.Seq, Progress: document.Progress,
		})
		return nil
	}
}
