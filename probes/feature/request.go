package feature

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

// Bounds of one answer. What comes beyond them is not read.
const (
	maxBody   = 256 << 10
	maxHeader = 64 << 10
	maxSaved  = 8 << 10
)

// tenantKey is the name of the tenant in templates.
const tenantKey = "tenant"

// placeholders are the templates in a text.
var placeholders = regexp.MustCompile(`\{\{.*?\}\}`)

var names = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func isName(s string) bool { return names.MatchString(s) }

// A step is a Request whose templates are understood.
type step struct {
	request Request
	url     *template.Template
	body    *template.Template
	headers map[string]*template.Template
}

// compile understands the templates of a request, which may name the tenant
// and what earlier steps saved.
func compile(r Request, saved map[string]bool) (step, error) {
	known := map[string]string{tenantKey: "x"}
	for name := range saved {
		known[name] = "x"
	}
	parse := func(what, text string) (*template.Template, error) {
		t, err := template.New(what).Option("missingkey=error").Parse(text)
		if err == nil {
			err = t.Execute(io.Discard, known)
		}
		if err != nil {
			return nil, fmt.Errorf("template of the %s: %s", what, strings.TrimPrefix(err.Error(), "template: "))
		}
		return t, nil
	}
	s := step{request: r, headers: map[string]*template.Template{}}
	var err error
	if s.url, err = parse("url", r.URL); err != nil {
		return step{}, err
	}
	if s.body, err = parse("body", r.Body); err != nil {
		return step{}, err
	}
	for name, value := range r.Headers {
		if s.headers[name], err = parse("header "+name, value.Reveal()); err != nil {
			// The error of a template shows its text, here a secret.
			return step{}, errors.New("template of the header " + name + ": not understood")
		}
	}
	return s, nil
}

// make builds the request for the known values.
func (s step) make(ctx context.Context, known map[string]string) (*http.Request, error) {
	address, err := fill(s.url, known, escapeURL)
	if err != nil {
		return nil, err
	}
	body, err := fill(s.body, known, escapeJSON)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(s.request.Method, http.MethodGet), address, strings.NewReader(body))
	if err != nil {
		return nil, errors.New("the address is no address once it is filled in")
	}
	req.Header.Set("User-Agent", "rollwatch")
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range s.headers {
		text, err := fill(value, known, func(s string) string { return s })
		if err != nil {
			return nil, err
		}
		req.Header.Set(name, text)
	}
	return req, nil
}

// fill executes a template over the known values, each escaped.
func fill(t *template.Template, known map[string]string, escape func(string) string) (string, error) {
	escaped := make(map[string]string, len(known))
	for name, value := range known {
		escaped[name] = escape(value)
	}
	var out strings.Builder
	if err := t.Execute(&out, escaped); err != nil {
		return "", fmt.Errorf("template of the %s cannot be filled in", t.Name())
	}
	return out.String(), nil
}

// escapeURL escapes whatever has a meaning in a path or in a query.
func escapeURL(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// escapeJSON is the inside of a JSON string.
func escapeJSON(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(quoted[1 : len(quoted)-1])
}

// do sends the step and holds the answer against what is expected; what it
// saves is added to known. The error says in few words what went wrong, without
// anything of the answer or of the URL, either of which may hold a token.
func (s step) do(ctx context.Context, client *http.Client, known map[string]string) error {
	req, err := s.make(ctx, known)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return unanswered(ctx, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return unanswered(ctx, err)
	}
	if len(body) > maxBody {
		return fmt.Errorf("the body is larger than %d bytes", maxBody)
	}
	if unmet := s.request.Expect.Unmet(resp, body); unmet != "" {
		return errors.New(unmet)
	}
	return s.save(body, known)
}

// unanswered says that there was no answer, without the URL.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("no answer in time")
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err
	}
	return fmt.Errorf("no answer: %w", err)
}

// save keeps fields of the answer.
func (s step) save(body []byte, known map[string]string) error {
	if len(s.request.Save) == 0 {
		return nil
	}
	var doc any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		return errors.New("the body is no JSON to save from")
	}
	for name, path := range s.request.Save {
		value, ok := field(doc, path)
		if !ok || len(value) > maxSaved {
			return fmt.Errorf("the body has no field %s to save", path)
		}
		known[name] = value
	}
	return nil
}

// field is the text of the field at a dotted path.
func field(doc any, path string) (string, bool) {
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "$."), ".") {
		object, ok := doc.(map[string]any)
		if !ok {
			return "", false
		}
		doc = object[name]
	}
	switch v := doc.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}
