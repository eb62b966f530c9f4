package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/verdict"
)

func TestMethodsThatAPathDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	for path, allow := range map[string]string{
		"/metrics":                           "GET, HEAD, OPTIONS",
		"/health":                            "GET, HEAD, OPTIONS",
		"/-/reload":                          "POST, OPTIONS",
		"/api/v1/rollouts":                   "GET, HEAD, POST, OPTIONS",
		"/api/v1/rollouts/r-1":               "GET, HEAD, PATCH, OPTIONS",
		"/api/v1/rollouts/r-1/finish":        "POST, OPTIONS",
		"/api/v1/services/api/gate/promote":  "GET, HEAD, POST, OPTIONS",
		"/api/v1/rollouts/r-1/gate/rollback": "GET, HEAD, POST, OPTIONS",
	} {
		for _, method := range []string{http.MethodDelete, http.MethodTrace, "BREW"} {
			answer := w.do(method, path, "")
			require.Equal(t, http.StatusMethodNotAllowed, answer.Code, path)
			require.Equal(t, allow, answer.Header().Get("Allow"), path)
			require.Equal(t, verdict.Invalid, refusal(t, answer).Code)
		}
		answer := w.do(http.MethodOptions, path, "")
		require.Equal(t, http.StatusOK, answer.Code)
		require.Equal(t, allow, answer.Header().Get("Allow"))
		require.Empty(t, answer.Header().Get("Access-Control-Allow-Origin"), "no page of a stranger may read this")
	}
}

// send refuses redirects, so here are the paths that invite one.
func TestNothingRedirects(t *testing.T) {
	w := newWorld(t)
	id := w.register("api")
	for _, path := range []string{
		"/health/", "//health", "/metrics/", "/api/v1/rollouts/", "/api/v1//rollouts", "/api/v1/./rollouts", "/api/../metrics",
		"/api/v1/services/api/gate/promote/", "/api/v1/rollouts/" + id + "//verdict", "/api", "/nothing", "/api/v2/rollouts",
		"/api/v1/services//verdict",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			answer := w.do(method, path, "")
			require.Equal(t, http.StatusNotFound, answer.Code, path)
			require.Equal(t, verdict.NotFound, refusal(t, answer).Code)
		}
	}
	require.Contains(t, refusal(t, w.do(http.MethodGet, "/health/", "")).Message, "without the slash")
}

func TestLandingPageHasNoScripts(t *testing.T) {
	w := newWorld(t)
	answer := w.do(http.MethodGet, "/", "")
	require.Equal(t, http.StatusOK, answer.Code)
	require.Contains(t, answer.Body.String(), "1.2.3")
	require.NotContains(t, answer.Body.String(), "<script")
	require.Contains(t, answer.Header().Get("Content-Security-Policy"), "default-src 'none'")
	for _, part := range strings.Split(answer.Body.String(), `href="`)[1:] {
		path, _, _ := strings.Cut(part, `"`)
		require.Equal(t, http.StatusOK, w.do(http.MethodGet, path, "").Code, "the page links to %s", path)
	}
}

func TestAPanicIsAnAnswer(t *testing.T) {
	begin := false
	w := newWorld(t, func(opts *Options) {
		opts.Log = zap.NewNop() // the panic is logged as an error, and wanted here
		opts.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if begin {
				w.WriteHeader(http.StatusOK)
			}
			panic("a bug")
		})
	})
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, request(http.MethodGet, "/metrics", ""))
	require.Equal(t, http.StatusInternalServerError, answer.Code)
	require.Equal(t, verdict.Internal, refusal(t, answer).Code)
	require.NotContains(t, answer.Body.String(), "a bug")

	begin = true
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		w.handler.ServeHTTP(httptest.NewRecorder(), request(http.MethodGet, "/metrics", ""))
	}, "half an answer is broken off, not ended")
}

func TestRefusalsShowLittleOfWhatWasSent(t *testing.T) {
	w := newWorld(t)
	long := "/" + strings.Repeat("x", 60_000)
	require.Less(t, w.do(http.MethodGet, long, "").Body.Len(), 1000)
	require.Less(t, w.do(http.MethodPatch, "/api/v1/services"+long+"/verdict", "").Body.Len(), 1000)
	require.Less(t, w.do(http.MethodGet, "/api/v1/rollouts"+long, "").Body.Len(), 1000)
	require.Less(t, w.do(http.MethodGet, "/api/v1/services"+long+"/verdict", "").Body.Len(), 1000)
}

func TestBodiesAreUTF8(t *testing.T) {
	answer := newWorld(t).do(http.MethodPost, "/api/v1/rollouts", `{"service":"api","version":"2`+"\xff"+`","strategy":"canary"}`)
	require.Equal(t, http.StatusBadRequest, answer.Code)
	require.Contains(t, refusal(t, answer).Message, "not UTF-8")
}
