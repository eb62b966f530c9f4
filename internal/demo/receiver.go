package demo

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// A hook is one webhook that arrived, and whether its signature held.
type hook struct {
	ID       string
	Type     string
	Verdict  string
	Rollout  string
	Verified bool
}

// A receiver is the deploy tool's end of the webhook: it checks every signature.
type receiver struct {
	url    string
	secret string // whsec_..., shared with rollwatch
	hooks  chan hook
	server *http.Server
	verify *standardwebhooks.Webhook
}

// startReceiver listens on a free loopback port with a secret of its own.
func startReceiver() (*receiver, error) {
	key := make([]byte, 32)
	rand.Read(key)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
	verify, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, fmt.Errorf("webhook receiver: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("webhook receiver: %w", err)
	}
	r := &receiver{
		url:    "http://" + listener.Addr().String() + "/hook",
		secret: secret,
		hooks:  make(chan hook, 64),
		verify: verify,
	}
	r.server = &http.Server{Handler: http.HandlerFunc(r.receive), ReadHeaderTimeout: 5 * time.Second}
	go r.server.Serve(listener) //nolint:errcheck // ErrServerClosed, at the end of the demo
	return r, nil
}

// receive takes one webhook; a signature that does not hold is answered 401
// and shown all the same.
func (r *receiver) receive(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, 1<<20))
	if err != nil {
		http.Error(w, "unreadable body", http.StatusBadRequest)
		return
	}
	var event struct {
		Type string `json:"type"`
		Data struct {
			Verdict string `json:"verdict"`
			Rollout string `json:"rollout"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &event); err != nil {
		http.Error(w, "not a Standard Webhooks body: "+err.Error(), http.StatusBadRequest)
		return
	}
	got := hook{
		ID: request.Header.Get("Webhook-Id"), Type: event.Type,
		Verdict: event.Data.Verdict, Rollout: event.Data.Rollout,
		Verified: r.verify.Verify(body, request.Header) == nil,
	}
	select {
	case r.hooks <- got:
	default: // nobody listens any more: the story has been told
	}
	if !got.Verified {
		http.Error(w, "signature does not hold", http.StatusUnauthorized)
	}
}

// close ends the receiver.
func (r *receiver) close() error { return r.server.Close() }
