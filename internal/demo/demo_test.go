package demo

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

func TestMain(m *testing.M) { live.Main(m) }

// Where a machine has no Redis, miniredis carries the queues, and the story
// says so.
func TestWithoutRedisTheWorkersStillWork(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	w := &World{stop: stop}
	require.NoError(t, w.startMiniredis())
	mail, err := startMailroom(ctx, w.redisAddr)
	require.NoError(t, err)
	w.onClose(mail.close)
	require.Eventually(t, func() bool {
		processed, err := mail.redis.Get(ctx, "asynq:{"+mailQueue+"}:processed").Int()
		return err == nil && processed > 0
	}, patience, 20*time.Millisecond)
	require.Contains(t, strings.Join(w.missing, " "), "Redis is not installed")
	require.NoError(t, w.Close())
}

// A receiver that took any signature would show nothing.
func TestReceiverRefusesAForgedWebhook(t *testing.T) {
	r, err := startReceiver()
	require.NoError(t, err)
	defer r.close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url, strings.NewReader(`{"type":"verdict.final","data":{"verdict":"rollback"}}`))
	require.NoError(t, err)
	request.Header.Set("Webhook-Id", "evt_1")
	request.Header.Set("Webhook-Timestamp", "1700000000")
	request.Header.Set("Webhook-Signature", "v1,Zm9yZ2Vk")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	require.False(t, (<-r.hooks).Verified)
}

// The story fails when the ending is not the promised one.
func TestAnotherEndingIsAFailure(t *testing.T) {
	n := newNarrator(io.Discard)
	require.ErrorIs(t, conclude(n, document{Verdict: "promote"}), ErrUntold)
	require.ErrorIs(t, conclude(n, document{Verdict: "rollback"}), ErrUntold)
}
