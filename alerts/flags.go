package alerts

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/flags"
)

// A FlagReading is what is known of a feature flag that a rollout declared: that
// it is on in one store, or why it is not known to be.
type FlagReading struct {
	Flag   string
	On     bool   // for everybody or for some
	Switch string // where and how it is switched off: "redis main: SET ff:checkout-v2 false"
	Not    string // why it cannot be switched off: "it is off already"
}

// flagInfo tells each flag's state as a label.
const flagInfo = "rollwatch_flag_info"

// ReadFlags tells of each flag where it can be switched off, by the newest
// readings of the stores: one reading for each store in which it is on, or one
// that says why there is none.
func ReadFlags(ctx context.Context, scene Scene, stores []*flags.Config, names []string) ([]FlagReading, error) {
	var targets []string
	for _, store := range stores {
		targets = append(targets, store.Name)
	}
	span := Span{From: scene.Now.Add(-staleAfter(scene.Interval)), To: scene.Now}
	states, err := scene.probed(ctx, span, flagInfo, nil, targets)
	if err != nil {
		return nil, err
	}
	overrides, err := scene.probed(ctx, span, "rollwatch_flag_overrides", nil, targets)
	if err != nil {
		return nil, err
	}
	var all []FlagReading
	for _, name := range names {
		var on []FlagReading
		not := "no reading of a flag store shows it"
		for _, store := range stores {
			switch state, at := newestState(states, store.Name, name); {
			case state == "on" || state == "partial":
				on = append(on, FlagReading{Flag: name, On: true, Switch: store.Off(name) + stillOn(overrides, at, store, name)})
			case state == "off":
				not = "it is off already"
			case state != "":
				not = "its value is not understood"
			}
		}
		if len(on) == 0 {
			on = []FlagReading{{Flag: name, Not: not}}
		}
		all = append(all, on...)
	}
	return all, nil
}

// newestState is the state in the newest sample of a flag; "" without one.
func newestState(series []collector.Series, target, flag string) (state string, at time.Time) {
	for _, s := range series {
		if s.Labels.Get("target") != target || s.Labels.Get("flag") != flag {
			continue
		}
		if t := newest([]collector.Series{s}); t.After(at) {
			at, state = t, s.Labels.Get("state")
		}
	}
	return state, at
}

// stillOn names the overrides, as they were at a time, that leave the flag on for
// some when its own value says off.
func stillOn(overrides []collector.Series, at time.Time, store *flags.Config, flag string) string {
	var left []string
	for _, scope := range flags.Scopes {
		for _, s := range overrides {
			if s.Labels.Get("target") != store.Name || s.Labels.Get("flag") != flag || s.Labels.Get("scope") != scope || s.Labels.Get("value") != "on" ||
				newest([]collector.Series{s}).Before(at) {
				continue
			}
			left = append(left, fmt.Sprintf("; and %g of %s, each of which has it on by itself", s.Points[len(s.Points)-1].V, store.OverrideKey(flag, scope)))
		}
	}
	return strings.Join(left, "")
}
