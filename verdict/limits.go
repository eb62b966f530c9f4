package verdict

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rollwatch/rollwatch/alerts"
)

// What may be told of a rollout is bounded: it is kept, sent on and drawn.
const (
	maxName       = 256  // characters of a version, image, flag, label ...
	maxText       = 1000 // characters of a note or reason
	maxList       = 100  // flags, migrations, labels
	maxStages     = 1000
	maxClockSkew  = time.Minute
	maxOverride   = 7 * 24 * time.Hour
	fullTraffic   = 100.0 // percent
	shownInErrors = 64    // characters of what was sent
)

var strategies = []alerts.Strategy{alerts.Rolling, alerts.BlueGreen, alerts.Canary}

// validate refuses what is unknown, too long or cannot be shown.
func (reg *Registration) validate() error {
	if reg.Version == "" {
		return invalid("version", "version is missing")
	}
	if !slices.Contains(strategies, reg.Strategy) {
		return invalid("strategy", "strategy is %q; it must be rolling, blue-green or canary", shortened(string(reg.Strategy)))
	}
	if reg.Kind != Deploy && reg.Kind != KindOfRollback {
		return invalid("kind", "kind is %q; it must be deploy or rollback", shortened(string(reg.Kind)))
	}
	names := []struct{ field, value string }{
		{"version", reg.Version}, {"previous_version", reg.PreviousVersion}, {"commit", reg.Commit},
		{"image", reg.Image}, {"previous_image", reg.PreviousImage},
	}
	for i, flag := range reg.FeatureFlags {
		names = append(names, struct{ field, value string }{fmt.Sprintf("feature_flags[%d]", i), flag})
	}
	for _, key := range slices.Sorted(maps.Keys(reg.Labels)) {
		names = append(names, struct{ field, value string }{"labels", key}, struct{ field, value string }{"labels." + shortened(key), reg.Labels[key]})
	}
	for _, name := range names {
		if err := checkText(name.field, name.value, maxName); err != nil {
			return err
		}
	}
	for field, n := range map[string]int{"feature_flags": len(reg.FeatureFlags), "migrations": len(reg.Migrations), "labels": len(reg.Labels)} {
		if n > maxList {
			return invalid(field, "%s has %d entries; %d are taken at most", field, n, maxList)
		}
	}
	return checkMigrations(reg.Migrations)
}

func checkMigrations(migrations []Migration) error {
	for i, m := range migrations {
		at := fmt.Sprintf("migrations[%d]", i)
		if !slices.Contains([]string{Additive, Data, Breaking}, m.Kind) {
			return invalid(at+".kind", "%s.kind is %q; it must be additive, data or breaking", at, shortened(m.Kind))
		}
		for _, part := range []struct{ field, value string }{{".tool", m.Tool}, {".name", m.Name}, {".reverse", m.Reverse}} {
			if err := checkText(at+part.field, part.value, maxName); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkText refuses text that is too long, or that a terminal or a label
// could not show.
func checkText(field, text string, longest int) error {
	if n := utf8.RuneCountInString(text); n > longest {
		return invalid(field, "%s has %d characters; %d are taken at most", field, n, longest)
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) && c != '\n' && c != '\t' }) {
		return invalid(field, "%s holds characters that cannot be printed", field)
	}
	return nil
}

func checkKey(key string) error {
	return checkText("Idempotency-Key", key, maxName)
}

func (s Stage) validate() error {
	if s.Weight != nil && !(*s.Weight >= 0 && *s.Weight <= fullTraffic) {
		return invalid("weight", "weight is %v; it is a share of the traffic, 0 to 100", *s.Weight)
	}
	return checkText("note", s.Note, maxText)
}

func (o Override) validate(now time.Time) error {
	switch {
	case !slices.Contains(Words, o.Verdict):
		return invalid("verdict", "verdict is %q; it must be continue, promote, hold or rollback", shortened(string(o.Verdict)))
	case o.Reason == "":
		return invalid("reason", "reason is missing: an override is kept on record")
	case o.Author == "":
		return invalid("author", "author is missing: an override is kept on record")
	case !o.Until.After(now):
		return invalid("until", "until is in the past, so the override would not count")
	case o.Until.After(now.Add(maxOverride)):
		return invalid("until", "until is more than seven days away")
	}
	if err := checkText("reason", o.Reason, maxText); err != nil {
		return err
	}
	return checkText("author", o.Author, maxName)
}

// shortened is what an error shows of what was sent.
func shortened(text string) string {
	runes := []rune(text)
	if len(runes) <= shownInErrors {
		return text
	}
	return string(runes[:shownInErrors]) + "..."
}
