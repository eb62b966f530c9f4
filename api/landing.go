package api

import (
	"fmt"
	"net/http"

	"github.com/prometheus/exporter-toolkit/web"
)

// newLanding makes the plain page at /. It has no scripts, and may load nothing.
func newLanding(version string) (http.Handler, error) {
	page, err := web.NewLandingPage(web.LandingConfig{
		Name:        "rollwatch",
		Description: "Judges rollouts: continue, promote, hold or roll back, and why.",
		Version:     version,
		HeaderColor: "#24425c",
		Profiling:   "false",
		Links: []web.LandingLinks{
			{Address: "/metrics", Text: "Metrics", Description: "what was read, for Prometheus"},
			{Address: "/health", Text: "Health", Description: "every target"},
			{Address: "/api/v1/rollouts", Text: "Rollouts", Description: "newest first"},
			{Address: "/api/v1/deliveries", Text: "Deliveries", Description: "webhooks owed and done"},
			{Address: "/api/v1/openapi.yaml", Text: "OpenAPI", Description: "the contract of the API"},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make the landing page: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		page.ServeHTTP(w, r)
	}), nil
}
