package verdict

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// A ground is what is known of the ways back besides what was registered.
type ground struct {
	flags   []alerts.FlagReading // nil: no store of flags is configured
	schemas []comparedSchema     // of the databases that the service names
}

// A comparedSchema is a database now beside what it was at the registration.
type comparedSchema struct {
	database string
	unknown  string // why it could not be compared as it is now; what was found stands all the same
	from, to time.Time
	changes  []alerts.SchemaChange
}

// What an Action shows of each at most; an event is not to be a catalog.
const (
	shownChanges = 50
	shownFits    = 5
)

// advise returns the way back that costs least among those that are safe, with
// the others as alternatives. Switching a flag off leaves code and schema as they
// are, so no schema blocks it. Where the registration names none it is to revert,
// whatever that takes: a rollback that advises nothing would be read as one that
// needs nothing done.
func advise(r Rollout, g ground) *Action {
	broken := g.broken()
	blocked, scripts := wayBack(r.Migrations, broken)
	ways := flagWays(r.FeatureFlags, g.flags)
	if r.PreviousImage != "" {
		ways = append(ways, Action{Kind: "image", Image: r.PreviousImage, BlockedBy: blocked, Reverse: scripts})
	}
	if r.Commit != "" {
		ways = append(ways, Action{Kind: "revert", Commit: r.Commit, BlockedBy: blocked, Reverse: scripts})
	}
	undeclared := len(ways) == 0
	if undeclared {
		ways = []Action{{Kind: "revert", BlockedBy: blocked, Reverse: scripts}}
	}
	first := ways[0]
	first.Alternatives = ways[1:]
	first.Schema = g.changes()
	first.Notes = slices.Concat(offNotes(g.flags), g.notes(), blockedNotes(r, ways, broken))
	if undeclared {
		first.Notes = slices.Insert(first.Notes, 0, undeclaredNote(r))
	}
	if more := len(first.Schema) - shownChanges; more > 0 {
		first.Schema = first.Schema[:shownChanges]
		first.Notes = append(first.Notes, fmt.Sprintf("%d more differences of the schema are not listed", more))
	}
	return &first
}

// undeclaredNote says that nobody told of a way back, and which version is the one to
// go back to, if that was told.
func undeclaredNote(r Rollout) string {
	note := "no way back was declared: neither previous_image nor commit was registered, and no feature flag that is on"
	if r.PreviousVersion != "" {
		note += "; the version before was " + r.PreviousVersion
	}
	return note
}

// flagWays are the declared flags that are on, each with where it is switched
// off. Where no store of flags is read, what was declared is all that is known.
func flagWays(declared []string, read []alerts.FlagReading) []Action {
	var ways []Action
	if read == nil {
		for _, flag := range declared {
			ways = append(ways, Action{Kind: "flag", Flag: flag, BlockedBy: []string{}})
		}
	}
	for _, flag := range read {
		if flag.On {
			ways = append(ways, Action{Kind: "flag", Flag: flag.Flag, Switch: flag.Switch, BlockedBy: []string{}})
		}
	}
	return ways
}

// offNotes say why a declared flag is no way back.
func offNotes(read []alerts.FlagReading) []string {
	var notes []string
	for _, flag := range read {
		if !flag.On {
			notes = append(notes, fmt.Sprintf("the flag %s is no way back: %s", flag.Flag, flag.Not))
		}
	}
	return notes
}

// wayBack says what keeps the previous version from running on what the
// migrations left behind, and which scripts undo them, the newest first. What a
// migration was declared as does not count against what the schema shows.
func wayBack(migrations []Migration, broken bool) (blocked, scripts []string) {
	blocked = []string{}
	if broken {
		blocked = append(blocked, "schema")
	}
	for _, m := range slices.Backward(migrations) {
		if m.Kind == Breaking && len(blocked) == 0 {
			blocked = append(blocked, "schema")
		}
		if (broken || m.Kind != Additive) && m.Reverse != "" {
			scripts = append(scripts, m.Reverse)
		}
	}
	return blocked, scripts
}

// broken says whether a database changed so that the previous version may fail.
func (g ground) broken() bool {
	return slices.ContainsFunc(g.schemas, func(c comparedSchema) bool { return len(c.breaking()) > 0 })
}

// changes are those of all databases, what breaks first.
func (g ground) changes() []alerts.SchemaChange {
	var breaking, fitting []alerts.SchemaChange
	for _, c := range g.schemas {
		n := len(c.breaking())
		breaking, fitting = append(breaking, c.changes[:n]...), append(fitting, c.changes[n:]...)
	}
	return append(breaking, fitting...)
}

// breaking are the first of the changes.
func (c comparedSchema) breaking() []alerts.SchemaChange {
	n := slices.IndexFunc(c.changes, func(change alerts.SchemaChange) bool { return !change.Breaks })
	if n < 0 {
		n = len(c.changes)
	}
	return c.changes[:n]
}

// notes say of each database how its schema stands to the previous version.
func (g ground) notes() []string {
	var notes []string
	for _, c := range g.schemas {
		notes = append(notes, c.note())
	}
	return notes
}

func (c comparedSchema) note() string {
	breaking := len(c.breaking())
	since := " since the registration (" + clock(c.from) + ")"
	switch {
	case c.unknown != "" && breaking > 0:
		return fmt.Sprintf("schema of %s compared as it was at %s only, and it may have changed since: %s", c.database, clock(c.to), c.unknown)
	case c.unknown != "":
		return fmt.Sprintf("schema of %s not compared: %s", c.database, c.unknown)
	case breaking > 0:
		return fmt.Sprintf("the schema of %s does not fit the previous version any more: %d of %d differences%s break it", c.database, breaking, len(c.changes), since)
	case len(c.changes) == 0:
		return fmt.Sprintf("the schema of %s is what it was, compared%s", c.database, since)
	}
	return fmt.Sprintf("the schema of %s changed%s in what the previous version does not see: %s", c.database, since, sentences(c.changes))
}

func clock(t time.Time) string { return t.UTC().Format(time.TimeOnly + " UTC") }

// sentences are the first few changes in words.
func sentences(changes []alerts.SchemaChange) string {
	var words []string
	for _, change := range changes[:min(len(changes), shownFits)] {
		words = append(words, change.Sentence)
	}
	text := strings.Join(words, "; ")
	if more := len(changes) - shownFits; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// blockedNotes say what blocks by declaration, and what is left to do when every
// way back is blocked.
func blockedNotes(r Rollout, ways []Action, broken bool) []string {
	var notes []string
	for _, m := range r.Migrations {
		if m.Kind == Breaking && !broken {
			notes = append(notes, fmt.Sprintf("the migration %s was declared as breaking", m.Name))
		}
	}
	if slices.ContainsFunc(ways, func(way Action) bool { return len(way.BlockedBy) == 0 }) {
		return notes
	}
	if scripts := ways[0].Reverse; len(scripts) > 0 {
		return append(notes, "every way back is blocked until the schema is taken back: run "+strings.Join(scripts, ", then ")+" first")
	}
	return append(notes, "every way back is blocked, and no reverse script was declared: undo these changes of the schema by hand first, or repair forward")
}
