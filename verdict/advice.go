package verdict

import "slices"

// advise returns the way back that costs least among those that are safe, with
// the others as alternatives; nil when the registration names none. Switching a
// flag off leaves code and schema as they are, so no migration blocks it.
func advise(r Rollout) *Action {
	blocked, scripts := wayBack(r.Migrations)
	var ways []Action
	if len(r.FeatureFlags) > 0 {
		ways = append(ways, Action{Kind: "flag", Flag: r.FeatureFlags[0], BlockedBy: []string{}})
	}
	if r.PreviousImage != "" {
		ways = append(ways, Action{Kind: "image", Image: r.PreviousImage, BlockedBy: blocked, Reverse: scripts})
	}
	if r.Commit != "" {
		ways = append(ways, Action{Kind: "revert", Commit: r.Commit, BlockedBy: blocked, Reverse: scripts})
	}
	if len(ways) == 0 {
		return nil
	}
	first := ways[0]
	first.Alternatives = ways[1:]
	return &first
}

// wayBack says what keeps the previous version from running on what the
// migrations left behind, and which scripts undo them, the newest first.
func wayBack(migrations []Migration) (blocked, scripts []string) {
	blocked = []string{}
	for _, m := range slices.Backward(migrations) {
		if m.Kind == Breaking && len(blocked) == 0 {
			blocked = append(blocked, "schema")
		}
		if m.Kind != Additive && m.Reverse != "" {
			scripts = append(scripts, m.Reverse)
		}
	}
	return blocked, scripts
}
