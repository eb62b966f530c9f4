package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

// A pipeWriter is a ResponseWriter whose reader sees what is written at once.
type pipeWriter struct {
	*io.PipeWriter

	header http.Header
	status int
}

func (p *pipeWriter) Header() http.Header    { return p.header }
func (p *pipeWriter) WriteHeader(status int) { p.status = status }
func (p *pipeWriter) Flush()                 {}

// A listener is a client of the event stream.
type listener struct {
	t     *testing.T
	lines *bufio.Scanner
	pipe  *io.PipeReader
	ended chan struct{}
}

func (w *world) listen(id, lastEvent string) *listener {
	reader, writer := io.Pipe()
	r := request(http.MethodGet, "/api/v1/rollouts/"+id+"/events", "").WithContext(w.t.Context())
	r.Header.Set("Last-Event-ID", lastEvent)
	l := &listener{t: w.t, lines: bufio.NewScanner(reader), pipe: reader, ended: make(chan struct{})}
	go func() {
		defer close(l.ended)
		defer writer.Close()
		w.handler.ServeHTTP(&pipeWriter{PipeWriter: writer, header: http.Header{}}, r)
	}()
	return l
}

// next reads one event: its fields, or the comment under the empty name.
func (l *listener) next() map[string]string {
	event := map[string]string{}
	for l.lines.Scan() && l.lines.Text() != "" {
		name, value, _ := strings.Cut(l.lines.Text(), ":")
		event[name] = strings.TrimSpace(value)
	}
	return event
}

func (l *listener) document() (string, verdict.Document) {
	l.t.Helper()
	event := l.next()
	var document verdict.Document
	require.NoError(l.t, json.Unmarshal([]byte(event["data"]), &document), event)
	return event["event"] + " " + event["id"], document
}

func TestEventsTellTheStoryOfARollout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.register("api")
		client := w.listen(id, "")

		name, document := client.document()
		require.Equal(t, "verdict 1", name, "the verdict as it is comes first")
		require.Equal(t, verdict.Continue, document.Verdict)

		began := time.Now()
		require.Equal(t, map[string]string{"": "still here"}, client.next())
		require.Equal(t, heartbeat, time.Since(began))

		<-time.After(time.Second) // judgements do not keep time with heartbeats
		w.judge.run()
		client.next()
		name, document = client.document()
		require.Equal(t, "judgement ", name, "newer evidence for the same verdict has no id")
		require.Equal(t, verdict.Continue, document.Verdict)
		require.WithinDuration(t, time.Now(), document.AsOf, interval)

		w.judge.set(func(j *judge) { j.findings = []alerts.Finding{firing()} })
		name, document = client.document()
		require.Equal(t, "verdict 2", name)
		require.Equal(t, verdict.Rollback, document.Verdict)
		require.Len(t, document.Reasons, 1)
		require.Equal(t, time.Now(), document.AsOf.Local(), "a transition does not wait for the heartbeat")

		w.handler.Drain()
		require.Empty(t, client.next())
		<-client.ended
	})
}

func TestEventsResumeAfterTheLastOneSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.register("api")
		client := w.listen(id, "1")
		began := time.Now()
		name, _ := client.document()
		require.Equal(t, "judgement ", name)
		require.Equal(t, heartbeat, time.Since(began), "verdict 1 was seen before")
		client.pipe.Close()
		<-client.ended
	})
}

func TestEventsOutliveAStaleJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.judge.set(func(j *judge) { j.blind = errors.New("the window is gone") })
		id := w.register("api")
		client := w.listen(id, "")
		event := client.next()
		require.Equal(t, "unavailable", event["event"])
		require.Contains(t, event["data"], `{"error":{"code":"unavailable","message":"`)
		require.Equal(t, map[string]string{"": "still here"}, client.next(), "it is said once")
		w.judge.set(func(j *judge) { j.blind = nil })
		<-time.After(time.Second)
		w.judge.run()
		for {
			if event = client.next(); event["event"] != "" {
				break
			}
		}
		require.Equal(t, "verdict", event["event"], "the judge is back")
		client.pipe.Close()
		<-client.ended
	})
}

func TestAListenerThatLeavesGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.register("api")
		client := w.listen(id, "")
		client.next()
		require.Len(t, w.handler.long, 1)
		client.pipe.Close()
		<-client.ended
		require.Empty(t, w.handler.long)
	})
}
