package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"

	dto "github.com/prometheus/client_model/go"
)

const (
	metricsPage        = "metrics" // the kind of such a row
	metricsPageTimeout = 5 * time.Second
	maxMetricsPage     = 32 << 20 // bytes
)

// checkScrapes reads every metrics page of the services once, all at the same time.
func checkScrapes(ctx context.Context, config *Config) []checkResult {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var all sync.WaitGroup
	var results []*checkResult
	for _, s := range config.Services {
		for i, target := range s.Metrics.Scrape {
			r := &checkResult{Kind: metricsPage, Name: fmt.Sprintf("%s[%d]", s.Name, i), State: stateUp}
			results = append(results, r)
			all.Go(func() { r.readPage(ctx, client, target.URL) })
		}
	}
	all.Wait()
	out := make([]checkResult, 0, len(results))
	for _, r := range results {
		out = append(out, *r)
	}
	return out
}

func (r *checkResult) readPage(ctx context.Context, client *http.Client, address string) {
	began := time.Now()
	series, err := countSeries(ctx, client, address)
	r.Milliseconds = milliseconds(time.Since(began))
	switch {
	case err != nil:
		r.State, r.Problem = stateDown, err.Error()
	default:
		r.Details = map[string]any{"series": series}
	}
}

// countSeries reads a page and returns how many series are on it. Its errors
// do not show the address, which may hold a password.
func countSeries(ctx context.Context, client *http.Client, address string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsPageTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, errors.New("not an address")
	}
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("answered %s", resp.Status)
	}
	series := 0
	decoder := expfmt.NewDecoder(io.LimitReader(resp.Body, maxMetricsPage), expfmt.ResponseFormat(resp.Header))
	for {
		var family dto.MetricFamily
		switch err := decoder.Decode(&family); {
		case errors.Is(err, io.EOF):
			return series, nil
		case err != nil:
			return 0, fmt.Errorf("not a metrics page: %w", err)
		}
		series += len(family.GetMetric())
	}
}
