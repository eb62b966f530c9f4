package collector

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

const (
	// remoteAnswer bounds one answer of a remote window, in bytes: 2 million samples.
	remoteAnswer = 64 << 20

	// remoteReach is how far before its end a selection reads at most. Gates look
	// a week back for the same hour of earlier days, and never further.
	remoteReach = 9 * 24 * time.Hour

	// refusalShown bounds what is shown of an answer that is no answer, in bytes or
	// characters.
	refusalShown = 200
)

// Remote is the Window of a Prometheus, or of what answers its HTTP API: Thanos,
// Mimir, VictoriaMetrics. An answer that is partial, too large or too late is
// an error, never less evidence.
type Remote struct {
	base   *url.URL
	client *http.Client
	limit  int64 // of one answer, in bytes
}

// NewRemote makes the window of the server at an address, which may have a path
// and a user, as in https://user:secret@mimir.example/prometheus.
func NewRemote(address string) (*Remote, error) {
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("the address of a Prometheus is written as http://prometheus:9090")
	}
	return &Remote{base: base, limit: remoteAnswer, client: &http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // it may hold a password
	}}, nil
}

// Close lets go of the connections.
func (r *Remote) Close() { r.client.CloseIdleConnections() }

// Select implements Window.
func (r *Remote) Select(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]Series, error) {
	if from.Before(to.Add(-remoteReach)) {
		from = to.Add(-remoteReach)
	}
	span := to.UnixMilli() - from.UnixMilli()
	if span <= 0 {
		return nil, nil
	}
	selector := selectorOf(matchers)
	matrix, err := r.ask(ctx, "query", url.Values{
		"query": {fmt.Sprintf("%s[%dms]", selector, span)}, "time": {apiTime(to)},
	})
	if err != nil {
		return nil, fmt.Errorf("select %s from %s: %w", selector, r.base.Redacted(), err)
	}
	out := make([]Series, 0, len(matrix))
	for _, s := range matrix {
		// Before version 3 the beginning of a range belonged to it.
		s.Points = slices.DeleteFunc(s.Points, func(p Point) bool { return p.T <= from.UnixMilli() || p.T > to.UnixMilli() })
		if len(s.Points) > 0 {
			out = append(out, s)
		}
	}
	return out, nil
}

// Query implements Window; the server evaluates.
func (r *Remote) Query(ctx context.Context, expr string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	switch {
	case to.Before(from):
		return nil, fmt.Errorf("query %s: it ends (%s) before it begins (%s)", expr, to, from)
	case to.Equal(from):
		step = time.Second // one step, whatever its length
	case step <= 0:
		return nil, fmt.Errorf("query %s: step is %s, it must be positive", expr, step)
	}
	series, err := r.ask(ctx, "query_range", url.Values{
		"query": {expr}, "start": {apiTime(from)}, "end": {apiTime(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	})
	if err != nil {
		return nil, fmt.Errorf("query %s at %s: %w", expr, r.base.Redacted(), err)
	}
	matrix := make(promql.Matrix, 0, len(series))
	for _, s := range series {
		floats := make([]promql.FPoint, len(s.Points))
		for i, p := range s.Points {
			floats[i] = promql.FPoint{T: p.T, F: p.V}
		}
		matrix = append(matrix, promql.Series{Metric: s.Labels, Floats: floats})
	}
	return matrix, nil
}

// selectorOf writes matchers as PromQL.
func selectorOf(matchers []*labels.Matcher) string {
	var parts []string
	for _, m := range matchers {
		parts = append(parts, m.String())
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// apiTime is a time as the API takes it.
func apiTime(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

// ask posts to the API, which answers with a matrix.
func (r *Remote) ask(ctx context.Context, path string, form url.Values) ([]Series, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	form.Set("timeout", queryTimeout.String())
	form.Set("partial_response", "false") // Thanos would leave out what it cannot reach
	address := *r.base
	address.Path = strings.TrimSuffix(address.Path, "/") + "/api/v1/" + path
	address.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if user := r.base.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "rollwatch")
	resp, err := r.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // it repeats the address
		}
		return nil, fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, r.limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the answer broke off: %w", err)
	case int64(len(text)) > r.limit:
		return nil, fmt.Errorf("the answer is larger than %d MiB: select fewer series", r.limit>>20)
	}
	return readAnswer(resp, text)
}

// A remoteReply is what the API sends.
type remoteReply struct {
	Status    string `json:"status"`
	ErrorType string `json:"errorType"`
	Error     string `json:"error"`
	Data      struct {
		ResultType string         `json:"resultType"`
		Result     []remoteSeries `json:"result"`
	} `json:"data"`
}

type remoteSeries struct {
	Metric map[string]string `json:"metric"`
	Values []remotePoint     `json:"values"`
}

// latestTime is the end of all time, in seconds: what is after it, or is no number,
// would become some other time in milliseconds.
const latestTime = 1e12

// A remotePoint is [seconds, "value"].
type remotePoint Point

// UnmarshalJSON implements json.Unmarshaler.
func (p *remotePoint) UnmarshalJSON(text []byte) error {
	at, value, ok := strings.Cut(strings.Trim(string(text), "[] \n\t"), ",")
	if !ok {
		return fmt.Errorf("%q is no sample", text)
	}
	t, err := strconv.ParseFloat(strings.TrimSpace(at), 64)
	if err != nil {
		return fmt.Errorf("the time of a sample: %w", err)
	}
	if !(math.Abs(t) < latestTime) {
		return fmt.Errorf("%v is not the time of a sample", t)
	}
	v, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(value), `"`), 64)
	if err != nil {
		return fmt.Errorf("the value of a sample: %w", err)
	}
	p.T, p.V = int64(math.Round(t*1000)), v
	return nil
}

// readAnswer takes an answer apart: each series once, in the order of their labels,
// each with its samples in order of time. The evaluation relies on that.
func readAnswer(resp *http.Response, text []byte) ([]Series, error) {
	var reply remoteReply
	if err := json.Unmarshal(text, &reply); err != nil || reply.Status == "" {
		return nil, fmt.Errorf("it answered %s, and not as a Prometheus does: %q", resp.Status, text[:min(len(text), refusalShown)])
	}
	if reply.Status != "success" {
		return nil, fmt.Errorf("it refused (%s): %s", oneLine(cmp.Or(reply.ErrorType, resp.Status)), oneLine(reply.Error))
	}
	if reply.Data.ResultType != "matrix" {
		return nil, fmt.Errorf("it answered with a %s, not with a matrix", reply.Data.ResultType)
	}
	out := make([]Series, 0, len(reply.Data.Result))
	for _, s := range reply.Data.Result {
		points := make([]Point, len(s.Values))
		for i, p := range s.Values {
			if i > 0 && p.T <= points[i-1].T {
				return nil, fmt.Errorf("it answered with samples of %s that are not in order of time", oneLine(labels.FromMap(s.Metric).String()))
			}
			points[i] = Point(p)
		}
		out = append(out, Series{Labels: labels.FromMap(s.Metric), Points: points})
	}
	slices.SortFunc(out, func(a, b Series) int { return labels.Compare(a.Labels, b.Labels) })
	for i := 1; i < len(out); i++ {
		if labels.Equal(out[i].Labels, out[i-1].Labels) { // counted twice, it would be twice the traffic
			return nil, fmt.Errorf("it answered twice with %s", oneLine(out[i].Labels.String()))
		}
	}
	return out, nil
}

// oneLine is text from the server as a terminal and a log may show it.
func oneLine(text string) string {
	text = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, text)
	if runes := []rune(text); len(runes) > refusalShown {
		return string(runes[:refusalShown]) + "..."
	}
	return text
}
