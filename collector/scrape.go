package collector

// A ScrapeTarget is one /metrics address of a service, scraped into the window
// with job=<service>, instance=<host:port> and these labels. An empty URL
// leaves the target out.
type ScrapeTarget struct {
	URL    string            `yaml:"url" jsonschema:"required"`
	Labels map[string]string `yaml:"labels,omitempty"`
}
