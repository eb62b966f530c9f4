package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
)

const (
	defaultServer  = "http://127.0.0.1:9876"
	requestTimeout = 10 * time.Second // of one request, beyond what it asks the server to wait
	maxAnswer      = 8 << 20          // bytes
)

// The flags and variables that say which rollwatch is asked.
const (
	serverFlag    = "server"
	tokenFileFlag = "token-file"
	serverEnv     = "ROLLWATCH_SERVER"
	tokenFileEnv  = "ROLLWATCH_TOKEN_FILE"
)

// addClientFlags gives a command the flags that newClient reads. A token is
// never the value of a flag: the list of processes shows those to everybody.
func addClientFlags(cmd *cobra.Command) {
	cmd.PersistentFlags().String(serverFlag, "", "address of the daemon (default $"+serverEnv+" or "+defaultServer+")")
	cmd.PersistentFlags().String(tokenFileFlag, "", "file that holds the token for writes (default $"+tokenFileEnv+")")
}

// A client asks a running daemon.
type client struct {
	server *url.URL
	token  probe.Secret
	http   *http.Client
}

// newClient makes the client that the command's flags and the environment describe.
func newClient(cmd *cobra.Command) (*client, error) {
	flag := func(name, variable string) string {
		value, _ := cmd.Flags().GetString(name)
		return cmp.Or(value, os.Getenv(variable))
	}
	server, err := url.Parse(cmp.Or(flag(serverFlag, serverEnv), defaultServer))
	if err != nil || server.Host == "" || server.Scheme != "http" && server.Scheme != "https" {
		return nil, usage("--%s is not an address; write it as %s", serverFlag, defaultServer)
	}
	c := &client{server: server, http: &http.Client{
		// A token must not follow a redirect to another host, and the API has none.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if path := flag(tokenFileFlag, tokenFileEnv); path != "" {
		if c.token, err = probe.ReadSecretFile(path); err != nil {
			return nil, usage("--%s: %w", tokenFileFlag, err)
		}
	}
	return c, nil
}

// A refusal is an answer of the daemon that is not what was asked for.
type refusal struct {
	status     int
	retryAfter time.Duration
	message    string
}

func (r *refusal) Error() string {
	if r.message == "" {
		return fmt.Sprintf("the server answered %d %s", r.status, http.StatusText(r.status))
	}
	return r.message
}

// errUnreachable is wrapped by every error of a daemon that did not answer.
var errUnreachable = errors.New("cannot reach rollwatch")

// A request is one question to the daemon.
type request struct {
	method string // GET by default
	path   string // segments are escaped by pathOf
	query  url.Values
	header http.Header
	body   any           // encoded as JSON, if there is one
	wait   time.Duration // how long the server may hold the answer back
}

// pathOf joins the segments of a path, each escaped.
func pathOf(segments ...string) string {
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "/" + strings.Join(segments, "/")
}

// do asks, and returns the body of a good answer. Other answers are a *refusal,
// none at all is errUnreachable.
func (c *client) do(ctx context.Context, r request) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout+r.wait)
	defer cancel()
	req, err := c.prepare(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // it repeats the address, with the query
		}
		return nil, fmt.Errorf("%w at %s: %w", errUnreachable, c.server.Redacted(), err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", errUnreachable, c.server.Redacted(), err)
	}
	if resp.StatusCode >= 300 {
		return nil, refused(resp, text)
	}
	return text, nil
}

func (c *client) prepare(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		text, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	address := strings.TrimSuffix(c.server.String(), "/") + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.method, http.MethodGet), address, body)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	maps.Copy(req.Header, r.header)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "rollwatch/"+buildVersion())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	switch {
	case c.token.Empty():
	case c.server.User != nil: // basic auth in front has taken the usual place
		req.Header.Set("X-Rollwatch-Token", c.token.Reveal())
	default:
		req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	return req, nil
}

// refused reads a refusal. A body that is not the API's own (a proxy's page)
// leaves the status to speak.
func refused(resp *http.Response, text []byte) error {
	var body struct {
		Error verdict.Error `json:"error"`
	}
	_ = json.Unmarshal(text, &body)
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return &refusal{status: resp.StatusCode, retryAfter: time.Duration(max(seconds, 0)) * time.Second, message: body.Error.Message}
}

// ask is do into a value.
func ask[T any](ctx context.Context, c *client, r request) (T, error) {
	var out T
	text, err := c.do(ctx, r)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return out, fmt.Errorf("the answer to %s is not what was expected: %w", r.path, err)
	}
	return out, nil
}

// unavailable says whether asking again later may help: the daemon is not
// there, or says itself that it has nothing to say now.
func unavailable(err error) (retryAfter time.Duration, yes bool) {
	if refusal, ok := errors.AsType[*refusal](err); ok {
		temporary := refusal.status == http.StatusTooManyRequests || refusal.status >= http.StatusInternalServerError
		return refusal.retryAfter, temporary
	}
	return 0, errors.Is(err, errUnreachable)
}

// printJSON writes an answer as it came, indented.
func printJSON(w io.Writer, text json.RawMessage) error {
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", "  "); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	out.WriteByte('\n')
	_, err := out.WriteTo(w)
	return err
}
