package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/verdict"
)

// A right is what a caller needs to have for a route.
type right int

const (
	public right = iota // nothing
	read                // a token, if the configuration wants one for reads
	write               // a token, or to be on this machine when there are no tokens
)

// tokenHeader carries a token where Authorization is taken by basic auth.
const tokenHeader = "X-Rollwatch-Token" //nolint:gosec // the name of a header, not a token

// localAuthor stands in the record for a writer on this machine without a token.
const localAuthor = "local"

// access decides who may call what.
type access struct {
	log   *zap.Logger
	rules atomic.Pointer[rules]
}

type rules struct {
	tokens *tokensFile // nil when writes are taken from loopback
	reads  Reads
}

func newAccess(cfg Config, log *zap.Logger) (*access, error) {
	a := &access{log: log}
	return a, a.configure(cfg)
}

func (a *access) configure(cfg Config) error {
	next := &rules{reads: cfg.Reads}
	if cfg.TokensFile != "" {
		tokens, err := openTokens(cfg.TokensFile, a.log)
		if err != nil {
			return err
		}
		next.tokens = tokens
	}
	a.rules.Store(next)
	return nil
}

type authorKey struct{}

// author is who wrote: the name of the token, or localAuthor.
func author(ctx context.Context) string {
	name, _ := ctx.Value(authorKey{}).(string)
	return name
}

// guard lets a request through to the endpoint when it has the right.
func (h *Handler) guard(needs right, next endpoint) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		rules := h.access.rules.Load()
		if needs == public || (needs == read && rules.reads != ReadsToken) {
			return next(w, r)
		}
		name, err := rules.admit(r)
		if err != nil {
			return err
		}
		return next(w, r.WithContext(context.WithValue(r.Context(), authorKey{}, name)))
	}
}

// admit returns who asks, or why they are refused.
func (rules *rules) admit(r *http.Request) (string, error) {
	if rules.tokens == nil {
		return localAuthor, admitLocal(r)
	}
	presented := presentedToken(r)
	if presented == "" {
		return "", unauthorized("send a token of api.tokens_file, as in Authorization: Bearer <token>")
	}
	name, err := rules.tokens.holder(presented)
	switch {
	case errors.Is(err, errUnknownToken):
		return "", unauthorized(err.Error())
	case err != nil:
		return "", &verdict.Error{Code: verdict.Unavailable, Message: "api.tokens_file cannot be read; no token is known until it is back"}
	}
	return name, nil
}

func presentedToken(r *http.Request) string {
	if token := r.Header.Get(tokenHeader); token != "" {
		return token
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// forwarding lists the headers by which a proxy shows itself, beside all that
// begin with forwardedPrefix: its loopback address is not its client's.
var forwarding = []string{
	"Forwarded", "Via", "X-Real-Ip", "X-Client-Ip", "Cf-Connecting-Ip", "True-Client-Ip",
	"X-Envoy-External-Address", "X-Original-Forwarded-For",
}

const forwardedPrefix = "X-Forwarded-"

// forwarded returns the header by which a proxy shows itself, or nothing. That
// it is there counts, not what it says: a proxy appends its line to an empty one.
func forwarded(header http.Header) string {
	for name := range header {
		if strings.HasPrefix(name, forwardedPrefix) || slices.Contains(forwarding, name) {
			return name
		}
	}
	return ""
}

// browsing lists the headers that only browsers send. A page of a stranger can
// make the browser of somebody on this machine write here, but not hide these.
// (Sec-Fetch-Mode is not among them: Node's fetch sends it too.)
var browsing = []string{"Origin", "Sec-Fetch-Site"}

// admitLocal takes requests without a token from programs on this machine only.
func admitLocal(r *http.Request) error {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return unauthorized("without api.tokens_file, writes are taken from this machine only")
	}
	if name := forwarded(r.Header); name != "" {
		return unauthorized("the request came through a proxy (" + name + "); set api.tokens_file to take writes from elsewhere")
	}
	for _, name := range browsing {
		if _, there := r.Header[name]; there {
			return unauthorized("the request came from a browser (" + name + "); set api.tokens_file to take writes from one")
		}
	}
	if !loopbackHost(r.Host) {
		return unauthorized("without api.tokens_file, writes are taken at localhost, not at " + r.Host)
	}
	return nil
}

// loopbackHost says whether a Host header means this machine. A name that was
// made to point here (DNS rebinding) does not.
func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

func unauthorized(message string) error {
	return &verdict.Error{Code: verdict.Unauthorized, Message: message}
}
