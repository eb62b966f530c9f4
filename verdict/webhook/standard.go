package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rollwatch/rollwatch/verdict"
)

const (
	attemptTimeout = 15 * time.Second
	idleTimeout    = 90 * time.Second
	maxAnswer      = 64 << 10 // bytes of an answer's body that are read, so that its connection can be used again
)

// newTransport makes the connections of all endpoints; a proxy is taken from
// the environment.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxAnswer,
	}
}

// newClient makes the client of one endpoint. A redirect is not followed: the
// event and its signature are for the configured address alone.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		Timeout:       attemptTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// standard speaks Standard Webhooks 1.0.0.
type standard struct {
	config Config
	client *http.Client
}

func newStandard(c Config, client *http.Client) Notifier { return &standard{c, client} }

// Notify posts the delivery, signed with every secret as of this attempt.
func (s *standard) Notify(ctx context.Context, d verdict.Delivery) Answer {
	req, err := s.request(ctx, d, time.Now())
	if err != nil {
		return Answer{Outcome: Again, Err: err}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return Answer{Outcome: Again, Err: withoutAddress(err)}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // the status has decided already
	return read(resp, time.Now())
}

// request writes one attempt: the same id and bytes as every other, under the
// time of this one.
func (s *standard) request(ctx context.Context, d verdict.Delivery, now time.Time) (*http.Request, error) {
	signature, err := s.sign(d, now)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.config.URL.Reveal(), bytes.NewReader(d.Payload))
	if err != nil {
		return nil, withoutAddress(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "rollwatch")
	req.Header.Set(standardwebhooks.HeaderWebhookID, d.Event)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return req, nil
}

// sign returns a signature by each secret, so that a receiver that knows the
// old or the new one accepts it.
func (s *standard) sign(d verdict.Delivery, now time.Time) (string, error) {
	secrets, err := s.config.secrets()
	if err != nil {
		return "", err
	}
	var signatures []string
	for _, secret := range secrets {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return "", errors.New("a secret is not base64")
		}
		signature, err := signer.Sign(d.Event, now, d.Payload)
		if err != nil {
			return "", fmt.Errorf("sign: %w", err)
		}
		signatures = append(signatures, signature)
	}
	return strings.Join(signatures, " "), nil
}

// read says what an answer means: 2xx is success, 410 a farewell, and everything
// else worth another attempt, since endpoints that are being deployed answer
// anything. What the body says is not kept: many servers echo the path there,
// and the path of a webhook is often its secret.
func read(resp *http.Response, now time.Time) Answer {
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return Answer{Outcome: Delivered}
	case resp.StatusCode == http.StatusGone:
		return Answer{Outcome: Gone, Err: errors.New("answered 410 Gone")}
	}
	text := "answered " + strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		text += "; redirects are not followed: configure the address itself"
	}
	return Answer{Outcome: Again, Err: errors.New(text), RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now)}
}

// retryAfter reads the header, in seconds or as a date; 0 when it is neither.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil {
		seconds = max(0, min(seconds, int(giveUpAfter.Seconds())))
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// withoutAddress drops the URL from an error of the client: it may hold a token.
func withoutAddress(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
