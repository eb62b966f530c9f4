package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/verdict"
)

func TestARolloutFromStartToFinish(t *testing.T) {
	w := newWorld(t)
	body := `{"service":"api","version":"2.4.0","previous_version":"2.3.1","strategy":"canary","feature_flags":["checkout-v2"],
		"migrations":[{"tool":"prisma","name":"add_index","kind":"additive"}],"labels":{"pipeline":"1842"}}`
	first := request(http.MethodPost, "/api/v1/rollouts", body)
	first.Header.Set("Idempotency-Key", "build-1842")
	answer := w.send(first)
	require.Equal(t, http.StatusCreated, answer.Code, answer.Body)
	rollout := decodeAs[verdict.Rollout](t, answer)
	require.Equal(t, "/api/v1/rollouts/"+rollout.ID, answer.Header().Get("Location"))
	require.Equal(t, []string{"checkout-v2"}, rollout.FeatureFlags)
	require.Equal(t, "additive", rollout.Migrations[0].Kind)

	again := request(http.MethodPost, "/api/v1/rollouts", body)
	again.Header.Set("Idempotency-Key", "build-1842")
	answer = w.send(again)
	require.Equal(t, http.StatusOK, answer.Code, "the pipeline tried again")
	require.Equal(t, rollout.ID, decodeAs[verdict.Rollout](t, answer).ID)

	path := "/api/v1/rollouts/" + rollout.ID
	answer = w.do(http.MethodPatch, path, `{"weight":0,"note":"paused"}`)
	stage := decodeAs[verdict.Rollout](t, answer).Stages[0]
	require.Zero(t, *stage.Weight, "no traffic is a weight too")
	require.WithinDuration(t, time.Now(), stage.At, time.Minute)

	answer = w.do(http.MethodPost, path+"/finish", `{"outcome":"promoted"}`)
	require.Equal(t, verdict.Promoted, decodeAs[verdict.Rollout](t, answer).Outcome)
	require.Equal(t, verdict.Promoted, decodeAs[verdict.Rollout](t, w.do(http.MethodGet, path, "")).Outcome)
}

func TestRolloutsArePaged(t *testing.T) {
	w := newWorld(t)
	type page struct {
		Rollouts []verdict.Rollout
		Next     string
	}
	require.JSONEq(t, `{"rollouts":[]}`, w.do(http.MethodGet, "/api/v1/rollouts", "").Body.String())
	var ids []string
	for range 3 {
		ids = append(ids, w.register("api"))
	}
	w.register("web")
	first := decodeAs[page](t, w.do(http.MethodGet, "/api/v1/rollouts?service=api&limit=2", ""))
	rest := decodeAs[page](t, w.do(http.MethodGet, "/api/v1/rollouts?service=api&limit=2&cursor="+url.QueryEscape(first.Next), ""))
	require.Empty(t, rest.Next)
	var listed []string
	for _, rollout := range append(first.Rollouts, rest.Rollouts...) {
		listed = append(listed, rollout.ID)
	}
	slices.Reverse(listed)
	require.Equal(t, ids, listed, "newest first")
	for _, limit := range []string{"0", "501", "x", "-1", "1e3"} {
		answer := w.do(http.MethodGet, "/api/v1/rollouts?limit="+limit, "")
		require.Equal(t, http.StatusBadRequest, answer.Code, limit)
		require.Equal(t, "limit", refusal(t, answer).Field)
	}
	require.Equal(t, http.StatusBadRequest, w.do(http.MethodGet, "/api/v1/rollouts?cursor=nonsense", "").Code)
}

func TestDeliveriesAreListedAndReplayed(t *testing.T) {
	w := newWorld(t)
	require.JSONEq(t, `{"deliveries":[]}`, w.do(http.MethodGet, "/api/v1/deliveries", "").Body.String())
	w.judge.decide(w.register("api"), verdict.Rollback)
	type page struct{ Deliveries []verdict.Delivery }
	owed := decodeAs[page](t, w.do(http.MethodGet, "/api/v1/deliveries", "")).Deliveries
	require.Len(t, owed, 2)
	require.Equal(t, verdict.VerdictFinal, owed[0].Type, "newest first")
	answer := w.do(http.MethodPost, "/api/v1/deliveries/"+owed[0].ID+"/replay", "")
	require.Equal(t, http.StatusOK, answer.Code)
	require.Equal(t, verdict.Owed, decodeAs[verdict.Delivery](t, answer).State)
	require.Equal(t, http.StatusNotFound, w.do(http.MethodPost, "/api/v1/deliveries/d-unknown/replay", "").Code)
}

func TestReload(t *testing.T) {
	w := newWorld(t)
	require.Equal(t, http.StatusOK, w.do(http.MethodPost, "/-/reload", "").Code)
	w.reload = errors.New("rollwatch.yml:12:3: interval: is not a time")
	answer := w.do(http.MethodPost, "/-/reload", "")
	require.Equal(t, http.StatusBadRequest, answer.Code)
	require.Contains(t, refusal(t, answer).Message, "rollwatch.yml:12:3")
}

// What is wrong with a registration is said by field, with the cure where there is one.
func TestFaultyRegistrations(t *testing.T) {
	const good = `"service":"api","version":"2","strategy":"canary"`
	tests := []struct{ name, body, field, says string }{
		{"nothing", ``, "", "body is empty"},
		{"blanks", "  \n", "", "body is empty"},
		{"not JSON", `service=api`, "", "body is not JSON"},
		{"broken off", `{"service":"api"`, "", "body is not JSON"},
		{"more after it", `{` + good + `} {}`, "", "more after its JSON value"},
		{"a bracket after it", `{` + good + `}]`, "", "more after its JSON value"},
		{"a list", `[]`, "", "must be an object"},
		{"null", `null`, "", "body"},
		{"unknown field", `{` + good + `,"previousVersion":"1"}`, "previousVersion", "did you mean previous_version?"},
		{"unknown field within", `{` + good + `,"migrations":[{"tool":"a","name":"b","type":"data","kind":"data"}]}`, "migrations[0].type", "there is no such field"},
		{"other case", `{` + good + `,"Commit":"a"}`, "Commit", "did you mean commit?"},
		{"wrong type", `{"service":1,"version":"2","strategy":"canary"}`, "service", "must be a string"},
		{"wrong type within", `{` + good + `,"labels":{"a":1}}`, "labels.a", "must be a string"},
		{"missing", `{"service":"api","strategy":"canary"}`, "version", "is missing"},
		{"empty", `{"service":"","version":"2","strategy":"canary"}`, "service", "minimum string length"},
		{"unknown word", `{"service":"api","version":"2","strategy":"bluegreen"}`, "strategy", "blue-green"},
		{"unknown word within", `{` + good + `,"migrations":[{"tool":"a","name":"b","kind":"big"}]}`, "migrations[0].kind", "additive"},
		{"not a time", `{` + good + `,"started_at":"yesterday"}`, "started_at", "as in 2026-11-23T04:12:00Z"},
		{"no such day", `{` + good + `,"started_at":"2026-02-31T00:00:00Z"}`, "started_at", "as in 2026-11-23T04:12:00Z"},
		{"the year 1", `{` + good + `,"started_at":"0001-01-01T00:00:00Z"}`, "started_at", "leave it out for now"},
		{"later in the year 1", `{` + good + `,"started_at":"0001-06-01T00:00:00Z"}`, "started_at", "watched for 15m only"},
		{"the year 9999", `{` + good + `,"started_at":"9999-12-31T23:59:59Z"}`, "started_at", "in the future"},
		{"null in a field", `{` + good + `,"commit":null}`, "commit", "nullable"},
		{"too many flags", `{` + good + `,"feature_flags":[` + strings.Repeat(`"f",`, 100) + `"f"]}`, "feature_flags", "100"},
		{"far too deep", `{"labels":` + strings.Repeat(`[`, 500_000), "", "depth"},
		{"deep in a field", `{` + good + `,"labels":` + strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5001), "labels.a", "must be a string"},
	}
	w := newWorld(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := request(http.MethodPost, "/api/v1/rollouts", test.body)
			r.Header.Set("Content-Type", "application/json; charset=utf-8")
			answer := w.send(r)
			require.Equal(t, http.StatusBadRequest, answer.Code, answer.Body)
			got := refusal(t, answer)
			require.Equal(t, verdict.Invalid, got.Code)
			require.Equal(t, test.field, got.Field)
			require.Contains(t, got.Message, test.says)
			require.Less(t, len(got.Message), 500, "the body is not repeated to its sender")
			require.JSONEq(t, `{"rollouts":[]}`, w.do(http.MethodGet, "/api/v1/rollouts", "").Body.String())
		})
	}
}

func TestContentTypes(t *testing.T) {
	const body = `{"service":"api","version":"2","strategy":"canary"}`
	for media, status := range map[string]int{
		"application/json":                  http.StatusCreated,
		"application/json; charset=utf-8":   http.StatusCreated,
		"application/vnd.acme+json":         http.StatusCreated,
		"":                                  http.StatusBadRequest,
		"text/plain":                        http.StatusBadRequest,
		"application/x-www-form-urlencoded": http.StatusBadRequest,
		"multipart/form-data; boundary=a":   http.StatusBadRequest,
		"application/json;;":                http.StatusBadRequest,
	} {
		w := newWorld(t)
		r := request(http.MethodPost, "/api/v1/rollouts", body)
		r.Header.Set("Content-Type", media)
		answer := w.send(r)
		require.Equal(t, status, answer.Code, media)
		if status == http.StatusBadRequest {
			require.Equal(t, "Content-Type", refusal(t, answer).Field)
		}
	}
}

func TestBodiesAreLimited(t *testing.T) {
	const head, tail = `{"service":"api","version":"2","strategy":"canary","labels":{"a":"`, `"}}`
	fill := func(size int) string { return head + strings.Repeat("x", size-len(head)-len(tail)) + tail }
	for _, chunked := range []bool{false, true} {
		for size, status := range map[int]int{maxBody + 1: http.StatusRequestEntityTooLarge, maxBody: http.StatusBadRequest} {
			w := newWorld(t)
			r := request(http.MethodPost, "/api/v1/rollouts", fill(size))
			if chunked {
				r.ContentLength = -1
			}
			answer := w.send(r)
			require.Equal(t, status, answer.Code, "%d bytes, chunked: %v", size, chunked)
			if status == http.StatusRequestEntityTooLarge {
				require.Equal(t, verdict.TooLarge, refusal(t, answer).Code)
			} else {
				require.Equal(t, "labels.a", refusal(t, answer).Field, "1 MiB is read, and is too long for a label")
			}
		}
	}
}

func TestFaultyDecisions(t *testing.T) {
	w := newWorld(t)
	path := "/api/v1/rollouts/" + w.register("api")
	for _, test := range []struct{ method, path, body, field string }{
		{http.MethodPatch, path, `{}`, ""},
		{http.MethodPatch, path, `{"weight":101}`, "weight"},
		{http.MethodPatch, path, `{"weight":-1}`, "weight"},
		{http.MethodPatch, path, `{"weight":"25"}`, "weight"},
		{http.MethodPost, path + "/finish", `{"outcome":"done"}`, "outcome"},
		{http.MethodPost, path + "/finish", `{}`, "outcome"},
		{http.MethodPost, path + "/override", `{"verdict":"continue","reason":"x"}`, "until"},
		{http.MethodPost, path + "/override", `{"verdict":"continue","until":"2999-01-01T00:00:00Z"}`, "reason"},
		{http.MethodPost, path + "/override", `{"verdict":"stop","reason":"x","until":"2999-01-01T00:00:00Z"}`, "verdict"},
		{http.MethodPost, path + "/override", `{"verdict":"continue","reason":"x","until":"2001-01-01T00:00:00Z"}`, "until"},
		{http.MethodPost, path + "/override", `{"verdict":"continue","reason":"x","until":"2999-01-01T00:00:00Z","author":"boss"}`, "author"},
	} {
		answer := w.do(test.method, test.path, test.body)
		require.Equal(t, http.StatusBadRequest, answer.Code, test.body)
		require.Equal(t, test.field, refusal(t, answer).Field, test.body)
	}
	long := request(http.MethodPost, "/api/v1/rollouts", `{"service":"api","version":"2","strategy":"canary"}`)
	long.Header.Set("Idempotency-Key", strings.Repeat("k", 257))
	require.Equal(t, "Idempotency-Key", refusal(t, w.send(long)).Field)
}

// takesAll is a judge that refuses nothing: what comes through is up to the API.
type takesAll struct{ Judge }

func (takesAll) Register(_ context.Context, reg verdict.Registration, _ string) (verdict.Rollout, bool, error) {
	return verdict.Rollout{Registration: reg}, true, nil
}

// Any body is either a registration or refused as invalid, and never more.
func FuzzRegister(f *testing.F) {
	for _, seed := range []string{
		`{"service":"api","version":"2","strategy":"canary"}`,
		`{"service":"api","version":"2","strategy":"canary","started_at":"2026-11-23T04:12:00Z","migrations":[{"tool":"a","name":"b","kind":"data"}]}`,
		`{"service":null}`, `[]`, `{"a":1e999}`, "\xff", `{"labels":{"a":{"b":[]}}}`, `{"started_at":"0000-00-00T24:00:00+99:99"}`,
	} {
		f.Add(seed)
	}
	handler, err := New(Options{Judge: takesAll{}, Log: zap.NewNop()})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body string) {
		r := request(http.MethodPost, "/api/v1/rollouts", body)
		r.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		switch answer.Code {
		case http.StatusCreated:
			rollout := decodeAs[verdict.Rollout](t, answer)
			require.NotEmpty(t, rollout.Service)
			require.NotEmpty(t, rollout.Version)
			require.NotEmpty(t, rollout.Strategy)
		case http.StatusBadRequest:
			require.Equal(t, verdict.Invalid, refusal(t, answer).Code)
		default:
			t.Fatalf("status %d: %s", answer.Code, answer.Body)
		}
	})
}
