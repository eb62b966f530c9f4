package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// The phases of a request, under the names of blackbox_exporter.
const (
	phaseResolve    = "resolve"
	phaseConnect    = "connect"
	phaseTLS        = "tls"
	phaseProcessing = "processing"
	phaseTransfer   = "transfer"
)

var phaseNames = []string{phaseResolve, phaseConnect, phaseTLS, phaseProcessing, phaseTransfer}

// phases are how long each took. Where a redirect was followed they are the sums.
type phases map[string]time.Duration

// A stage knows how far a request has come, to say so when it comes no further,
// and how long it was where.
type stage struct {
	name atomic.Value

	mu    sync.Mutex
	began map[string]time.Time
	spent phases
}

func newStage() *stage {
	s := &stage{began: map[string]time.Time{}, spent: phases{}}
	s.name.Store("connecting")
	return s
}

func (s *stage) trace() *httptrace.ClientTrace {
	enter := func(name string) { s.name.Store(name) }
	return &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { enter("looking up the name"); s.begin(phaseResolve) },
		DNSDone:           func(httptrace.DNSDoneInfo) { s.end(phaseResolve) },
		ConnectStart:      func(string, string) { enter("connecting"); s.begin(phaseConnect) },
		ConnectDone:       func(string, string, error) { s.end(phaseConnect) },
		TLSHandshakeStart: func() { enter("agreeing on TLS"); s.begin(phaseTLS) },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { s.end(phaseTLS) },
		GotConn:           func(httptrace.GotConnInfo) { enter("waiting for the answer"); s.begin(phaseProcessing) },
		GotFirstResponseByte: func() {
			s.end(phaseProcessing)
			s.begin(phaseTransfer)
		},
	}
}

// begin starts a phase; of two that run at once (one connection for each family
// of addresses) the first counts.
func (s *stage) begin(phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began[phase].IsZero() {
		s.began[phase] = time.Now()
	}
}

func (s *stage) end(phase string) { s.endAt(phase, time.Now()) }

func (s *stage) endAt(phase string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if began := s.began[phase]; !began.IsZero() {
		s.spent[phase] += now.Sub(began)
		delete(s.began, phase)
	}
}

// phases are how long the request was where, when its body ended.
func (s *stage) phases(end time.Time) phases {
	s.endAt(phaseTransfer, end)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spent
}

// expiry is when the first of the certificates that were shown expires.
func expiry(state *tls.ConnectionState) (first time.Time, ok bool) {
	if state == nil {
		return time.Time{}, false
	}
	for _, certificate := range state.PeerCertificates {
		if !ok || certificate.NotAfter.Before(first) {
			first, ok = certificate.NotAfter, true
		}
	}
	return first, ok
}

// explain names the stage at which a request failed, without the URL, which
// the reader knows and which may hold a token.
func (s *stage) explain(ctx context.Context, err error) error {
	err = withoutURL(err)
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &certificate):
		return fmt.Errorf("the certificate is not trusted: %w", certificate.Err)
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no answer in time, while %s: %w", s.name.Load(), err)
	}
	return fmt.Errorf("no answer, while %s: %w", s.name.Load(), err)
}

func withoutURL(err error) error {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		return urlErr.Err
	}
	return err
}
