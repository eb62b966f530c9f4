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
	page := seriesOf(families, s.Name, target.Labels)
	r.Details = map[string]any{"series": len(page)}
	r.Missing = append(r.Missing, alerts.MissedOnPage(s, page)...)
	if advice, _ := alerts.CheckPage(alerts.Gates(config.Gates, s), s, page); advice != "" {
		r.Missing = append(r.Missing, "latency_p99: "+advice)
	}
}

// seriesOf are the series of a page, as a scrape would name and label them.
func seriesOf(families []*dto.MetricFamily, service string, more map[string]string) []collector.Series {
	var page []collector.Series
	for _, family := range families {
		for _, m := range family.GetMetric() {
			of := labels.NewBuilder(labels.FromMap(more)).Set(model.JobLabel, service)
			for _, pair := range m.GetLabel() {
				of.Set(pair.GetName(), pair.GetValue())
			}
			add := func(suffix string, v float64) {
				of.Set(model.MetricNameLabel, family.GetName()+suffix)
				page = append(page, collector.Series{Labels: of.Labels(), Points: []collector.Point{{V: v}}})
			}
			switch h, summary := m.GetHistogram(), m.GetSummary(); {
			case h != nil:
				add("_count", float64(h.GetSampleCount()))
				add("_sum", h.GetSampleSum())
				for _, b := range h.GetBucket() {
					of.Set(model.BucketLabel, labels.FormatOpenMetricsFloat(b.GetUpperBound()))
					add("_bucket", float64(b.GetCumulativeCount()))
				}
			case summary != nil:
				add("_count", float64(summary.GetSampleCount()))
				add("_sum", summary.GetSampleSum())
				for _, q := range summary.GetQuantile() {
					of.Set(model.QuantileLabel, labels.FormatOpenMetricsFloat(q.GetQuantile()))
					add("", q.GetValue())
				}
			default:
				add("", m.GetCounter().GetValue()+m.GetGauge().GetValue()+m.GetUntyped().GetValue()) // it is one of them
			}
		}
	}
	return page
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
