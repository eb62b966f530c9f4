package api

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

var gates = []string{"advance", "promote", "rollback"}

// Every verdict at every gate, by id and by service, by GET and by POST,
// answers with the code of the one table.
func TestGatesSayTheVerdictAsAStatus(t *testing.T) {
	w := newWorld(t)
	id := w.register("api")
	want := map[verdict.Word][3]int{
		verdict.Continue: {200, 503, 409},
		verdict.Promote:  {200, 200, 409},
		verdict.HoldOn:   {423, 423, 409},
		verdict.Rollback: {409, 409, 200},
	}
	require.Len(t, want, len(verdict.Words))
	for word, codes := range want {
		w.judge.decide(id, word)
		for i, gate := range gates {
			w.requireGate(id, gate, codes[i], word)
		}
	}
}

// requireGate asks the gate in every way there is.
func (w *world) requireGate(id, gate string, status int, word verdict.Word) {
	w.t.Helper()
	for _, path := range []string{"/api/v1/rollouts/" + id, "/api/v1/services/api"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			answer := w.do(method, path+"/gate/"+gate, "")
			require.Equal(w.t, status, answer.Code, "%s at %s", word, gate)
			require.Equal(w.t, status == 503, answer.Header().Get("Retry-After") == "15", "Retry-After comes with 503 and only then")
			body := decodeAs[gateAnswer](w.t, answer)
			require.Equal(w.t, status == 200, body.Open)
			require.Equal(w.t, word, body.Verdict)
			require.NotEmpty(w.t, body.Progress)
		}
	}
}

func TestADryRunOpensTheGatesAndSaysWhatItThinks(t *testing.T) {
	w := newWorldOf(t, newJudge(t, true))
	w.judge.set(func(j *judge) { j.findings = []alerts.Finding{firing()} })
	id := w.register("api")
	for i, gate := range gates {
		w.requireGate(id, gate, [3]int{200, 200, 409}[i], verdict.Rollback)
	}
	require.True(t, decodeAs[verdict.Document](t, w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/verdict", "")).DryRun)
}

func TestADeadJudgeOpensNoGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id, bad := w.register("api"), w.register("web")
		w.judge.decide(bad, verdict.Rollback)
		<-time.After(3*interval + time.Second) // and nothing was judged
		for _, gate := range gates {
			answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/gate/"+gate, "")
			require.Equal(t, http.StatusServiceUnavailable, answer.Code)
			require.Equal(t, "15", answer.Header().Get("Retry-After"))
			require.Equal(t, verdict.Unavailable, refusal(t, answer).Code)
		}
		answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/verdict", "")
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		answer = w.do(http.MethodGet, "/api/v1/rollouts/"+bad+"/gate/rollback", "")
		require.Equal(t, http.StatusOK, answer.Code, "what was rolled back stays rolled back")
	})
}

func TestUnknownRolloutsServicesAndGates(t *testing.T) {
	w := newWorld(t)
	id := w.register("team/api") // a name that must be escaped in a path
	for path, status := range map[string]int{
		"/api/v1/rollouts/r-unknown/verdict":             404,
		"/api/v1/rollouts/r-unknown/gate/promote":        404,
		"/api/v1/rollouts/r-unknown/events":              404,
		"/api/v1/services/unknown/verdict":               404,
		"/api/v1/services/unknown/gate/promote":          404,
		"/api/v1/rollouts/" + id + "/gate/open":          404,
		"/api/v1/services/team%2Fapi/verdict":            200,
		"/api/v1/services/team%2Fapi/gate/rollback":      409,
		"/api/v1/services/team%2Fapi/verdict?wait=never": 400,
	} {
		answer := w.do(http.MethodGet, path, "")
		require.Equal(t, status, answer.Code, path)
		if status == 404 {
			require.Equal(t, verdict.NotFound, refusal(t, answer).Code)
		}
	}
}

func TestDocumentHasListsEvenWhenEmpty(t *testing.T) {
	w := newWorld(t)
	id := w.register("api")
	answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/verdict", "")
	body := decodeAs[map[string]any](t, answer)
	require.Equal(t, []any{}, body["reasons"])
	require.Equal(t, []any{}, body["missing"])
	require.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
}

func TestDocumentIsReadByPeople(t *testing.T) {
	w := newWorld(t)
	w.judge.set(func(j *judge) { j.findings = []alerts.Finding{firing()} })
	id := w.register("api")
	require.Contains(t, w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/verdict", "").Body.String(), "4.1% > 1%")
}

func TestWaitingRefusesWhatItCannotDo(t *testing.T) {
	w := newWorld(t)
	id := w.register("api")
	for query, field := range map[string]string{
		"?wait=61s": "wait", "?wait=8": "wait", "?wait=-1s": "wait", "?wait=": "wait", "?wait=soon": "wait",
		"?seq=x": "seq", "?seq=-1": "seq", "?wait=1s&seq=": "seq", "?seq=1.5": "seq",
	} {
		answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/verdict"+query, "")
		require.Equal(t, http.StatusBadRequest, answer.Code, query)
		require.Equal(t, field, refusal(t, answer).Field, query)
	}
}

func TestWaiting(t *testing.T) {
	tests := []struct {
		name, query string
		turn        time.Duration // when the verdict turns to rollback
		takes       time.Duration
		word        verdict.Word
	}{
		{"answers as soon as the verdict turns", "?wait=8s&seq=1", 3 * time.Second, 3 * time.Second, verdict.Rollback},
		{"answers with what there is when the time is over", "?wait=8s&seq=1", time.Hour, 8 * time.Second, verdict.Continue},
		{"answers at once when the client is behind", "?wait=8s&seq=0", time.Hour, 0, verdict.Continue},
		{"waits for a change from now on without a seq", "?wait=8s", 5 * time.Second, 5 * time.Second, verdict.Rollback},
		{"does not wait without a wait", "?seq=1", 5 * time.Second, 0, verdict.Continue},
		{"waits longest a minute", "?wait=60s&seq=1", time.Hour, time.Minute, verdict.Continue},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.register("api")
				w.judge.run()
				turning := time.AfterFunc(test.turn, func() { w.judge.decide(id, verdict.Rollback) })
				defer turning.Stop()
				began := time.Now()
				answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/verdict"+test.query, "")
				require.Equal(t, http.StatusOK, answer.Code)
				require.Equal(t, test.takes, time.Since(began))
				require.Equal(t, test.word, decodeAs[verdict.Document](t, answer).Verdict)
			})
		})
	}
}

func TestWaitingEndsWhenTheDaemonGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.register("api")
		time.AfterFunc(2*time.Second, w.handler.Drain)
		began := time.Now()
		answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/verdict?wait=60s", "")
		require.Equal(t, http.StatusOK, answer.Code)
		require.Equal(t, 2*time.Second, time.Since(began))
	})
}

func TestHeadDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.register("api")
		began := time.Now()
		for _, path := range []string{"/verdict?wait=60s", "/events"} {
			require.Equal(t, http.StatusOK, w.do(http.MethodHead, "/api/v1/rollouts/"+id+path, "").Code)
		}
		require.Zero(t, time.Since(began))
	})
}

func TestTooManyWaitersAreSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.register("api")
		w.judge.run()
		path := "/api/v1/rollouts/" + id + "/verdict?wait=60s"
		for range maxLong {
			go w.handler.ServeHTTP(httptest.NewRecorder(), request(http.MethodGet, path, ""))
		}
		synctest.Wait()
		for _, path := range []string{path, "/api/v1/rollouts/" + id + "/events"} {
			answer := w.do(http.MethodGet, path, "")
			require.Equal(t, http.StatusServiceUnavailable, answer.Code)
			require.Contains(t, refusal(t, answer).Message, strconv.Itoa(maxLong))
		}
		require.Equal(t, http.StatusOK, w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/gate/advance", "").Code, "short answers go on")
		<-time.After(maxWait)
		synctest.Wait()
		require.Equal(t, http.StatusOK, w.do(http.MethodGet, path, "").Code, "the places were given back")
	})
}

func TestUnknownErrorsAreNotTold(t *testing.T) {
	w := newWorld(t)
	id := w.register("api")
	w.judge.set(func(j *judge) { j.err = errors.New("disk full at /var/lib/secret") })
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, request(http.MethodGet, "/api/v1/rollouts/"+id, ""))
	require.Equal(t, http.StatusInternalServerError, answer.Code)
	require.Equal(t, verdict.Internal, refusal(t, answer).Code)
	require.NotContains(t, answer.Body.String(), "secret")
}

// A ledger that hangs must not become an empty 200, which would be an open gate.
func TestATooSlowJudgeOpensNoGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.register("api")
		w.judge.set(func(j *judge) { j.hanging = true })
		for _, path := range []string{"/gate/advance", "/gate/rollback", ""} {
			began := time.Now()
			answer := w.do(http.MethodGet, "/api/v1/rollouts/"+id+path, "")
			require.Equal(t, http.StatusServiceUnavailable, answer.Code)
			require.Equal(t, verdict.Unavailable, refusal(t, answer).Code)
			require.Equal(t, endpointTime, time.Since(began))
		}
	})
}

func TestTheJudgeSaysWhenToAskAgain(t *testing.T) {
	w := newWorld(t)
	id := w.register("api")
	w.judge.set(func(j *judge) {
		j.err = &verdict.Error{Code: verdict.Unavailable, Message: "starting", RetryAfter: 1500 * time.Millisecond}
	})
	require.Equal(t, "2", w.do(http.MethodGet, "/api/v1/rollouts/"+id+"/gate/advance", "").Header().Get("Retry-After"))
}
