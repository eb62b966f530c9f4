package webhook

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
)

func TestSignatureOfTheStandardsOwnVector(t *testing.T) {
	s := &standard{config: sound()}
	d := verdict.Delivery{Event: "msg_p5jXN8AQM9LWM0D4loKWxJek", Payload: []byte(`{"test": 2432232314}`)}
	signature, err := s.sign(d, time.Unix(1614265330, 0))
	require.NoError(t, err)
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", signature)
}

// receive posts one delivery to a server that answers with the handler.
func receive(t *testing.T, c Config, handler http.HandlerFunc) Answer {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	transport := newTransport()
	defer transport.CloseIdleConnections()
	c.URL = probe.NewSecret(server.URL + "/hook?token=t0k3n")
	return newStandard(c, newClient(transport)).Notify(t.Context(), verdict.Delivery{Event: "evt_1", Payload: []byte(`{"type":"verdict.final"}`)})
}

func TestAReceiverWithTheOldOrTheNewSecretCanVerify(t *testing.T) {
	c := sound()
	newer := "whsec_" + base64.StdEncoding.EncodeToString([]byte("a new secret of thirty-two bytes"))
	c.Secret = probe.NewSecret(newer + " " + vector)
	answer := receive(t, c, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for _, secret := range []string{vector, newer} {
			verifier, err := standardwebhooks.NewWebhook(secret)
			if err != nil || verifier.Verify(body, r.Header) != nil {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("webhook-id") != "evt_1" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	require.Equal(t, Answer{Outcome: Delivered}, answer)
}

func TestWhatAnswersMean(t *testing.T) {
	cases := []struct {
		status     int
		header     string
		body       string
		want       Outcome
		says       string
		retryAfter time.Duration
	}{
		{status: 200, want: Delivered},
		{status: 204, want: Delivered},
		{status: 410, want: Gone, says: "answered 410 Gone"},
		{status: 404, body: "no such\x1b[2J hook\n", want: Again, says: "answered 404 Not Found"},
		{status: 429, header: "17", want: Again, says: "answered 429 Too Many Requests", retryAfter: 17 * time.Second},
		{status: 503, header: "-1", want: Again, says: "answered 503 Service Unavailable"},
		{status: 503, header: "99999999999", want: Again, says: "answered 503 Service Unavailable", retryAfter: giveUpAfter},
		{status: 500, header: "soon", want: Again, says: "answered 500 Internal Server Error"},
	}
	for _, c := range cases {
		answer := receive(t, sound(), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", c.header)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		require.Equal(t, c.want, answer.Outcome, c.status)
		require.Equal(t, c.retryAfter, answer.RetryAfter, c.status)
		if c.says == "" {
			require.NoError(t, answer.Err)
		} else {
			require.EqualError(t, answer.Err, c.says)
		}
	}
}

func TestRetryAfterAsADate(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	require.Equal(t, time.Minute, retryAfter(now.Add(time.Minute).Format(http.TimeFormat), now))
	require.Zero(t, retryAfter(now.Add(-time.Minute).Format(http.TimeFormat), now))
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("an event went where nobody sent it")
	}))
	defer elsewhere.Close()
	answer := receive(t, sound(), func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	require.Equal(t, Again, answer.Outcome)
	require.ErrorContains(t, answer.Err, "redirects are not followed")
}

func TestALongAnswerIsNotReadToItsEnd(t *testing.T) {
	written := make(chan int, 1)
	answer := receive(t, sound(), func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		total := 0
		for range 1 << 14 { // 64 MiB
			n, err := w.Write([]byte(strings.Repeat("x", 4096)))
			total += n
			if err != nil {
				break
			}
		}
		written <- total
	})
	require.Equal(t, Again, answer.Outcome)
	require.EqualError(t, answer.Err, "answered 500 Internal Server Error")
	require.Less(t, <-written, 32<<20)
}

// Many servers answer an unknown path by echoing it, and the path of a webhook
// is often its secret.
func TestWhatAReceiverEchoesIsNotKept(t *testing.T) {
	answer := receive(t, sound(), func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "Cannot POST /services/T0K3N "+r.Header.Get("webhook-signature"), http.StatusNotFound)
	})
	require.Equal(t, Again, answer.Outcome)
	require.EqualError(t, answer.Err, "answered 404 Not Found")
}

func TestErrorsHoldNoAddress(t *testing.T) {
	c := sound()
	c.URL = probe.NewSecret("http://127.0.0.1:1/hook?token=t0k3n")
	transport := newTransport()
	defer transport.CloseIdleConnections()
	answer := newStandard(c, newClient(transport)).Notify(t.Context(), verdict.Delivery{Event: "evt_1"})
	require.Equal(t, Again, answer.Outcome)
	require.ErrorContains(t, answer.Err, "connection refused")
	require.NotContains(t, answer.Err.Error(), "t0k3n")

	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	answer = newStandard(c, newClient(transport)).Notify(cancelled, verdict.Delivery{Event: "evt_1"})
	require.ErrorIs(t, answer.Err, context.Canceled)
}
