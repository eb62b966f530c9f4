package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/verdict"
)

func TestMain(m *testing.M) {
	for _, media := range []string{"text/html", "text/event-stream", "application/yaml", "text/markdown", "image/svg+xml"} {
		openapi3filter.RegisterBodyDecoder(media, openapi3filter.PlainBodyDecoder)
	}
	openapi3filter.RegisterBodyDecoder(mediaHealthJSON, openapi3filter.JSONBodyDecoder)
	goleak.VerifyTestMain(m)
}

// A world is a Handler with everything around it that a test may turn.
type world struct {
	t        *testing.T
	judge    *judge
	targets  []collector.Status
	degraded map[string]string
	reload   error
	handler  *Handler
	routes   routers.Router
}

func newWorld(t *testing.T, options ...func(*Options)) *world {
	t.Helper()
	return newWorldOf(t, newJudge(t, false), options...)
}

// newWorldOf is a world with a judge made by the test.
func newWorldOf(t *testing.T, judge *judge, options ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, judge: judge}
	opts := Options{
		Judge:    w.judge,
		Targets:  func() []collector.Status { return w.targets },
		Degraded: func() map[string]string { return w.degraded },
		Metrics: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = io.WriteString(rw, "rollwatch_build_info 1\n")
		}),
		Reload:   func(context.Context) error { return w.reload },
		Interval: interval,
		Version:  "1.2.3",
		Log:      zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)),
	}
	for _, option := range options {
		option(&opts)
	}
	var err error
	w.handler, err = New(opts)
	require.NoError(t, err)
	t.Cleanup(w.handler.Drain)
	w.routes, err = gorillamux.NewRouter(w.handler.contract)
	require.NoError(t, err)
	return w
}

// request makes a request as a program on this machine would send it.
func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:40000", "localhost:9876"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (w *world) do(method, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.send(request(method, path, body))
}

// send answers the request, and holds every answer of a known operation
// against the contract.
func (w *world) send(r *http.Request) *httptest.ResponseRecorder {
	w.t.Helper()
	sent := r.Clone(r.Context())
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	require.NotEqual(w.t, http.StatusNoContent, recorder.Code, "Flagger reads 204 as failure")
	require.NotEqual(w.t, 3, recorder.Code/100, "no redirect")
	route, params, err := w.routes.FindRoute(sent)
	if errors.Is(err, routers.ErrPathNotFound) || errors.Is(err, routers.ErrMethodNotAllowed) {
		return recorder
	}
	require.NoError(w.t, err)
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: sent, PathParams: params, Route: route},
		Status:                 recorder.Code,
		Header:                 recorder.Header(),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true},
	}
	input.SetBodyBytes(bytes.Clone(recorder.Body.Bytes()))
	require.NoError(w.t, openapi3filter.ValidateResponse(w.t.Context(), input), "%s %s", sent.Method, sent.URL)
	return recorder
}

// register begins a rollout of the service and returns its id.
func (w *world) register(service string) string {
	w.t.Helper()
	answer := w.do(http.MethodPost, "/api/v1/rollouts", `{"service":"`+service+`","version":"2.4.0","strategy":"canary"}`)
	require.Equal(w.t, http.StatusCreated, answer.Code, answer.Body)
	return decodeAs[verdict.Rollout](w.t, answer).ID
}

func decodeAs[T any](t *testing.T, answer *httptest.ResponseRecorder) T {
	t.Helper()
	var body T
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &body), answer.Body)
	return body
}

// refusal is the Error in an answer.
func refusal(t *testing.T, answer *httptest.ResponseRecorder) verdict.Error {
	t.Helper()
	problem := decodeAs[problem](t, answer)
	require.NotNil(t, problem.Error, answer.Body)
	require.NotEmpty(t, problem.Error.Message)
	return *problem.Error
}
