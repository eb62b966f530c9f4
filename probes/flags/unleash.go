package flags

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// maxAnswer is the longest answer of an Unleash server that is read, in bytes.
const maxAnswer = 16 << 20

// unleash asks an Unleash server as the applications' own clients do.
type unleash struct {
	address string
	key     func() (probe.Secret, error) // read at each request, so that a rotated one works
	client  *http.Client

	tag  string // of the last answer, which the server needs not repeat
	last map[string]*flag
}

func newUnleash(address string, key func() (probe.Secret, error)) *unleash {
	return &unleash{
		address: strings.TrimSuffix(address, "/") + "/client/features",
		key:     key,
		client: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
			// A key is not carried to where a redirect leads.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// read asks for every flag that the key may see.
func (u *unleash) read(ctx context.Context, _ []string) (snapshot, error) {
	views := []probe.View{{Name: "client/features", State: probe.ViewRead}}
	response, err := u.ask(ctx)
	if err != nil {
		return snapshot{}, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		return snapshot{flags: u.last, views: views, whole: true}, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return snapshot{}, fmt.Errorf("unleash answered %s: give api_key a token of type client (backend)", response.Status)
	default:
		return snapshot{}, fmt.Errorf("unleash answered %s, not its features: is the url that of the API, as in http://unleash:4242/api?", response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return snapshot{}, fmt.Errorf("read the features: %w", err)
	}
	if len(body) > maxAnswer {
		return snapshot{}, fmt.Errorf("the features are longer than %d bytes", maxAnswer)
	}
	found, err := parseFeatures(body)
	if err != nil {
		return snapshot{}, err
	}
	u.last, u.tag = found, response.Header.Get("ETag")
	return snapshot{flags: found, views: views, whole: true}, nil
}

func (u *unleash) ask(ctx context.Context) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("unleash: %w", err)
	}
	key, err := u.key()
	if err != nil {
		return nil, fmt.Errorf("unleash: %w", err)
	}
	request.Header.Set("Authorization", key.Reveal())
	request.Header.Set("User-Agent", "rollwatch")
	request.Header.Set("UNLEASH-APPNAME", "rollwatch")
	if u.tag != "" {
		request.Header.Set("If-None-Match", u.tag)
	}
	response, err := u.client.Do(request)
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // the address is known
	}
	if err != nil {
		return nil, fmt.Errorf("unleash does not answer: %w", err)
	}
	return response, nil
}

// parseFeatures understands the answer of /client/features.
func parseFeatures(body []byte) (map[string]*flag, error) {
	var document struct {
		Features []json.RawMessage `json:"features"`
	}
	if err := json.Unmarshal(body, &document); err != nil || document.Features == nil {
		return nil, errors.New("unleash answered something that is not a list of features: is the url that of its API?")
	}
	flags := map[string]*flag{}
	for _, raw := range document.Features {
		var feature struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Enabled    bool   `json:"enabled"`
			Strategies []struct {
				Parameters  map[string]any `json:"parameters"`
				Constraints []any          `json:"constraints"`
				Segments    []any          `json:"segments"`
				Disabled    bool           `json:"disabled"`
			} `json:"strategies"`
		}
		if json.Unmarshal(raw, &feature) != nil || !validName(feature.Name) || len(flags) >= maxKeys {
			continue
		}
		f := &flag{name: feature.Name, kind: feature.Type, global: off, revision: string(raw)}
		if feature.Enabled {
			f.global = on
		}
		f.stateOf = map[string]state{"": f.global}
		// It is on for all when one strategy lets everybody in.
		whole := len(feature.Strategies) == 0
		for _, s := range feature.Strategies {
			rollout, limited := s.Parameters["rollout"]
			whole = whole || !s.Disabled && len(s.Constraints)+len(s.Segments) == 0 && (!limited || fmt.Sprint(rollout) == "100") && !listed(s.Parameters)
		}
		f.gradual = feature.Enabled && !whole
		flags[f.name] = f
	}
	return flags, nil
}

// listed says whether a strategy names those that it lets in.
func listed(parameters map[string]any) bool {
	for _, key := range []string{"userIds", "IPs", "hostNames", "percentage"} {
		if text, ok := parameters[key].(string); ok && text != "" && text != "100" {
			return true
		}
	}
	return false
}

// discover has nothing to look for: the server tells all.
func (u *unleash) discover(context.Context) error { return nil }
