package alerts

import (
	"fmt"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Incomparable says of a canary of the service why nothing compares it with the old
// version, and what it is judged by in place of that; "" where something does.
func (s *Service) Incomparable() string {
	if comparesVersions(s) || tellsWorkers(s) {
		return ""
	}
	untold := "neither tracks nor version_label tells the two apart"
	if !hasMetrics(s) && s.Completions == "" {
		untold = "no metrics of the service are configured"
	}
	return fmt.Sprintf("the canary is not compared with the old version: %s, so it is judged by limits alone, on all that the service does", untold)
}

// Doubts names what may be meant otherwise than it is taken: nothing of it
// contradicts itself, so nothing is refused for it.
func (s *Service) Doubts() []probe.Fault {
	var f faults
	if s.Completions != "" && len(s.Metrics.Scrape) > 0 && !hasMetrics(s) && s.Metrics.Preset == "" {
		f.add("$.completions", "with it the service is taken for one of workers alone: "+requestGates(s)+" do not judge it, though its metrics are scraped",
			fmt.Sprintf("if it answers requests too, name metrics.preset (as in %s) or metrics.requests; if not, metrics.preset: %s says so", DefaultPreset, NoPreset))
	}
	if s.Detect != nil && s.Detect.Strategy == Canary {
		if why := s.Incomparable(); why != "" {
			f.add("$.detect.strategy", why, "name tracks, or version_label with metrics, or use rolling")
		}
	}
	return f
}

// requestGates are the gates that would judge the service by its requests, if it
// were known to have any.
func requestGates(s *Service) string {
	asked := *s
	asked.Metrics.Preset = DefaultPreset
	var names []string
	for _, gate := range Builtin {
		if gate.Applies(&asked) && !gate.Applies(s) {
			names = append(names, gate.Name)
		}
	}
	return strings.Join(names, ", ")
}
