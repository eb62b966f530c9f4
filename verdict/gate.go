package verdict

import "net/http"

// GateCodes are the status codes with which the three gates answer a deploy
// tool. They are never 204, which Flagger reads as a failure, and never a redirect.
type GateCodes struct {
	Advance  int // may the rollout go on?
	Promote  int // may it be called done?
	Rollback int // must it be rolled back? (200 means yes)
}

// gateCodes say each verdict as status codes. A 503 is served with Retry-After.
var gateCodes = map[Word]GateCodes{
	Continue: {Advance: http.StatusOK, Promote: http.StatusServiceUnavailable, Rollback: http.StatusConflict},
	Promote:  {Advance: http.StatusOK, Promote: http.StatusOK, Rollback: http.StatusConflict},
	HoldOn:   {Advance: http.StatusLocked, Promote: http.StatusLocked, Rollback: http.StatusConflict},
	Rollback: {Advance: http.StatusConflict, Promote: http.StatusConflict, Rollback: http.StatusOK},
}

// NoVerdict are the codes while there is no verdict to believe: a dead judge
// opens no gate in either direction.
var NoVerdict = GateCodes{
	Advance:  http.StatusServiceUnavailable,
	Promote:  http.StatusServiceUnavailable,
	Rollback: http.StatusServiceUnavailable,
}

// Gates returns the codes with which the gates answer. A dry run answers as a
// promotion does, whatever the verdict says.
func (d Document) Gates() GateCodes {
	if d.DryRun {
		return gateCodes[Promote]
	}
	codes, ok := gateCodes[d.Verdict]
	if !ok {
		return NoVerdict
	}
	return codes
}

// Of returns the code of the gate with that name: advance, promote or
// rollback; false for any other name.
func (c GateCodes) Of(gate string) (int, bool) {
	switch gate {
	case "advance":
		return c.Advance, true
	case "promote":
		return c.Promote, true
	case "rollback":
		return c.Rollback, true
	default:
		return 0, false
	}
}
