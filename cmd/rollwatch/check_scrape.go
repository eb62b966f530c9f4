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

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
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
			all.Go(func() { r.readPage(ctx, client, target, config, s) })
		}
	}
	all.Wait()
	out := make([]checkResult, 0, len(results))
	for _, r := range results {
		out = append(out, *r)
	}
	return out
}

func (r *checkResult) readPage(ctx context.Context, client *http.Client, target collector.ScrapeTarget, config *Config, s *alerts.Service) {
	began := time.Now()
	families, err := readFamilies(ctx, client, target.URL)
	r.Milliseconds = milliseconds(time.Since(began))
	if err != nil {
		r.State, r.Problem = stateDown, err.Error()
		return
	}
	series := 0
	for _, family := range families {
		series += len(family.GetMetric())
	}
	r.Details = map[string]any{"series": series}
	if advice, _ := alerts.CheckPage(alerts.Gates(config.Gates, s), s, bucketsOf(families, s.Name, target.Labels)); advice != "" {
		r.Missing = append(r.Missing, "latency_p99: "+advice)
	}
}

// bucketsOf are the buckets of a page, as a scrape would label them.
func bucketsOf(families []*dto.MetricFamily, service string, more map[string]string) []collector.Series {
	var buckets []collector.Series
	for _, family := range families {
		for _, m := range family.GetMetric() {
			of := labels.NewBuilder(labels.FromMap(more)).Set(model.MetricNameLabel, family.GetName()+"_bucket").Set(model.JobLabel, service)
			for _, pair := range m.GetLabel() {
				of.Set(pair.GetName(), pair.GetValue())
			}
			for _, b := range m.GetHistogram().GetBucket() {
				of.Set(model.BucketLabel, labels.FormatOpenMetricsFloat(b.GetUpperBound()))
				buckets = append(buckets, collector.Series{Labels: of.Labels(), Points: []collector.Point{{V: float64(b.GetCumulativeCount())}}})
			}
		}
	}
	return buckets
}

// readFamilies reads what is on a page. Its errors do not show the address, which
// may hold a password.
func readFamilies(ctx context.Context, client *http.Client, address string) ([]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, metricsPageTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("not an address")
	}
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	var families []*dto.MetricFamily
	decoder := expfmt.NewDecoder(io.LimitReader(resp.Body, maxMetricsPage), expfmt.ResponseFormat(resp.Header))
	for {
		var family dto.MetricFamily
		switch err := decoder.Decode(&family); {
		case errors.Is(err, io.EOF):
			return families, nil
		case err != nil:
			return nil, fmt.Errorf("not a metrics page: %w", err)
		}
		families = append(families, &family)
	}
}
