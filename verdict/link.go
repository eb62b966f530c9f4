package verdict

import (
	"net/url"
	"slices"
	"strings"

	"github.com/rollwatch/rollwatch/alerts"
)

// A Linker says where what a gate found for a rollout is drawn and explained.
type Linker func(rollout, gate string) string

// NewLinker makes links to the pictures of a rollwatch that people reach at an
// address (http or https, a path may follow). Without one the links are paths
// on the server that was asked.
func NewLinker(externalURL string) Linker {
	base := strings.TrimSuffix(externalURL, "/")
	return func(rollout, gate string) string {
		return base + "/api/v1/rollouts/" + url.PathEscape(rollout) + "/report?format=svg&gate=" + url.QueryEscape(gate)
	}
}

// in gives every finding of the document its link. The document that was shown
// before may share its findings, so they are copied.
func (l Linker) in(doc Document) Document {
	if l == nil {
		return doc
	}
	for _, findings := range []*[]alerts.Finding{&doc.Reasons, &doc.Findings} {
		*findings = slices.Clone(*findings)
		for i := range *findings {
			f := &(*findings)[i]
			f.Link = l(doc.Rollout, f.Gate)
		}
	}
	return doc
}
