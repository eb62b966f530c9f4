package alerts

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A SchemaChange is one difference between what a database looked like when a
// rollout was registered and what it looks like when it is rolled back.
type SchemaChange struct {
	Database string `json:"database"`         // the target
	Table    string `json:"table,omitempty"`  // with its schema, unless that is public
	Column   string `json:"column,omitempty"` // of the table
	Name     string `json:"name,omitempty"`   // of an index, a constraint or an enum
	Change   string `json:"change"`           // as column_dropped
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	Breaks   bool   `json:"breaks"` // the previous version may fail on it
	Sentence string `json:"sentence"`
}

// CompareSchemas finds the differences between two readings of a database, those
// that the previous version may fail on first. It knows what a program may lean
// on, not on what this one does: where in doubt, a difference breaks.
func CompareSchemas(database string, before, now *probe.Schema) []SchemaChange {
	d := &schemaDiff{database: database}
	d.relations(before.Relations, now.Relations)
	d.enums(before.Enums, now.Enums)
	slices.SortStableFunc(d.found, func(a, b SchemaChange) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Table, b.Table))
	})
	return d.found
}

// rank orders changes by how much they matter.
func (c SchemaChange) rank() int {
	if c.Breaks {
		return 0
	}
	return 1
}

// A schemaDiff collects differences.
type schemaDiff struct {
	database string
	found    []SchemaChange
}

// breaksf notes what the previous version may fail on, fitsf what it does not see.
func (d *schemaDiff) breaksf(c SchemaChange, format string, args ...any) {
	c.Breaks = true
	d.fitsf(c, format, args...)
}

func (d *schemaDiff) fitsf(c SchemaChange, format string, args ...any) {
	c.Database, c.Sentence = d.database, fmt.Sprintf(format, args...)
	d.found = append(d.found, c)
}

// byName is a list by its names.
func byName[T any](all []T, name func(T) string) map[string]T {
	named := make(map[string]T, len(all))
	for _, one := range all {
		named[name(one)] = one
	}
	return named
}

// onlyIn are those of a that b has no namesake of.
func onlyIn[T any](a []T, b map[string]T, name func(T) string) []T {
	var only []T
	for _, one := range a {
		if _, ok := b[name(one)]; !ok {
			only = append(only, one)
		}
	}
	return only
}

func relationName(r probe.Relation) string { return r.Name }
func columnName(c probe.Column) string     { return c.Name }
func enumName(e probe.Enum) string         { return e.Name }

func (d *schemaDiff) relations(before, now []probe.Relation) {
	nowByName := byName(now, relationName)
	added := onlyIn(now, byName(before, relationName), relationName)
	for _, was := range before {
		is, ok := nowByName[was.Name]
		if !ok {
			d.relationGone(was, added)
			continue
		}
		table := SchemaChange{Table: was.Name}
		if is.Kind != was.Kind {
			table.Change, table.From, table.To = "kind_changed", was.Kind, is.Kind
			d.breaksf(table, "%s was a %s and is a %s, which may not take what the previous version writes", was.Name, was.Kind, is.Kind)
		}
		d.columns(was, is)
		if is.Kind == was.Kind {
			d.indexes(was, is)
			d.constraints(was, is)
		}
	}
	for _, is := range added {
		d.fitsf(SchemaChange{Table: is.Name, Change: "table_added"}, "the %s %s is new", is.Kind, is.Name)
	}
}

// relationGone tells of a table that is gone. That another one came with the same
// columns looks like a new name, and is no proof of one.
func (d *schemaDiff) relationGone(was probe.Relation, added []probe.Relation) {
	gone := SchemaChange{Table: was.Name, Change: "table_dropped"}
	alike := func(r probe.Relation) bool {
		return len(was.Columns) > 0 && slices.EqualFunc(was.Columns, r.Columns, func(a, b probe.Column) bool { return a.Name == b.Name && a.Type == b.Type })
	}
	if i := slices.IndexFunc(added, alike); i >= 0 {
		gone.To = added[i].Name
		d.breaksf(gone, "the %s %s is gone; %s is new and has the same columns: renamed?", was.Kind, was.Name, gone.To)
		return
	}
	d.breaksf(gone, "the %s %s is gone", was.Kind, was.Name)
}

func (d *schemaDiff) columns(was, is probe.Relation) {
	nowByName := byName(is.Columns, columnName)
	added := onlyIn(is.Columns, byName(was.Columns, columnName), columnName)
	for _, old := range was.Columns {
		if column, ok := nowByName[old.Name]; ok {
			d.column(was.Name, old, column)
			continue
		}
		gone := SchemaChange{Table: was.Name, Column: old.Name, Change: "column_dropped", From: old.Type}
		if gone.To = namesake(old, added); gone.To != "" {
			d.breaksf(gone, "the column %s of %s is gone; %s is new and of the same type (%s): renamed?", old.Name, was.Name, gone.To, old.Type)
			continue
		}
		d.breaksf(gone, "the column %s of %s is gone", old.Name, was.Name)
	}
	for _, column := range added {
		c := SchemaChange{Table: is.Name, Column: column.Name, Change: "column_added", To: column.Type}
		if column.NotNull && column.Filled == "" && is.Kind != "view" {
			d.breaksf(c, "the column %s of %s is new, must not be null and has no default: an insert that does not name it fails", column.Name, is.Name)
			continue
		}
		d.fitsf(c, "the column %s of %s is new", column.Name, is.Name)
	}
}

// namesake is the new column that looks most like one that is gone: of the same
// type, at the same place if there is one; "" where none is.
func namesake(old probe.Column, added []probe.Column) string {
	name := ""
	for _, c := range added {
		if c.Type == old.Type && (name == "" || c.Place == old.Place) {
			name = c.Name
		}
	}
	return name
}

// column compares a column that is still there.
func (d *schemaDiff) column(table string, was, is probe.Column) {
	at := func(change string) SchemaChange {
		return SchemaChange{Table: table, Column: was.Name, Change: change}
	}
	if was.Type != is.Type {
		c := at("type_changed")
		c.From, c.To = was.Type, is.Type
		if widened(was.Type, is.Type) {
			d.fitsf(c, "the column %s of %s was %s and is %s, which is wider", was.Name, table, was.Type, is.Type)
		} else {
			d.breaksf(c, "the column %s of %s was %s and is %s", was.Name, table, was.Type, is.Type)
		}
	}
	switch {
	case !was.NotNull && is.NotNull && is.Filled == "":
		d.breaksf(at("not_null_set"), "the column %s of %s must not be null now and has no default: an insert that does not name it fails", was.Name, table)
	case !was.NotNull && is.NotNull:
		d.fitsf(at("not_null_set"), "the column %s of %s must not be null now, and has a default: only an explicit NULL fails", was.Name, table)
	case was.NotNull && !is.NotNull:
		d.fitsf(at("not_null_dropped"), "the column %s of %s may be null now", was.Name, table)
	}
	switch {
	case was.Filled == is.Filled:
	case is.Filled == "":
		c := at("default_dropped")
		c.From = was.Filled
		d.breaksf(c, "the column %s of %s is not filled any more (%s) when an insert does not name it", was.Name, table, was.Filled)
	case is.Filled == "generated":
		d.breaksf(at("generated"), "the column %s of %s is generated now: an insert that names it fails", was.Name, table)
	default:
		c := at("default_added")
		c.To = is.Filled
		d.fitsf(c, "the column %s of %s is filled now (%s) when an insert does not name it", was.Name, table, is.Filled)
	}
}

// widened says whether whatever was written and read as the one type still can be
// as the other. Numbers are not among them: a bigint comes as a string in Node.
func widened(was, is string) bool {
	const varying = "character varying"
	var before, now int
	if n, err := fmt.Sscanf(was, varying+"(%d)", &before); n != 1 || err != nil {
		return was == varying && is == "text"
	}
	if is == "text" || is == varying {
		return true
	}
	n, err := fmt.Sscanf(is, varying+"(%d)", &now)
	return n == 1 && err == nil && now >= before
}

func (d *schemaDiff) enums(before, now []probe.Enum) {
	nowByName := byName(now, enumName)
	for _, was := range before {
		is, ok := nowByName[was.Name]
		if !ok {
			d.breaksf(SchemaChange{Name: was.Name, Change: "enum_dropped"}, "the enum %s is gone", was.Name)
			continue
		}
		for _, value := range was.Values {
			if !slices.Contains(is.Values, value) {
				d.breaksf(SchemaChange{Name: was.Name, Change: "enum_value_dropped", From: value}, "the value %q of the enum %s is gone", value, was.Name)
			}
		}
		for _, value := range is.Values {
			if !slices.Contains(was.Values, value) {
				d.fitsf(SchemaChange{Name: was.Name, Change: "enum_value_added", To: value}, "the value %q of the enum %s is new", value, was.Name)
			}
		}
	}
	for _, is := range onlyIn(now, byName(before, enumName), enumName) {
		d.fitsf(SchemaChange{Name: is.Name, Change: "enum_added"}, "the enum %s is new", is.Name)
	}
}

// inWords is a list of names.
func inWords(names []string) string { return strings.Join(names, ", ") }
