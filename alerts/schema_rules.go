package alerts

import (
	"slices"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// indexes finds what serves no more, and what uniqueness is demanded anew. What
// an index is called matters to nobody: one that was built again is the same.
func (d *schemaDiff) indexes(was, is probe.Relation) {
	// An index follows the type of its columns, with other operators.
	alike := func(a, b probe.Index) bool {
		return a.Method == b.Method && slices.Equal(a.Keys, b.Keys) && (a.Details == b.Details || a.Name == b.Name && retyped(a.Keys, was, is))
	}
	for _, old := range was.Indexes {
		serves := func(i probe.Index) bool { return alike(old, i) && (i.Unique || !old.Unique) }
		if slices.ContainsFunc(is.Indexes, serves) || wentWithColumn(old, was, is) {
			continue
		}
		c := SchemaChange{Table: was.Name, Name: old.Name, Change: "index_dropped"}
		if old.Unique {
			d.breaksf(c, "the unique index %s on %s (%s) is gone: ON CONFLICT that names its columns fails", old.Name, was.Name, inWords(old.Keys))
		} else {
			d.breaksf(c, "the index %s on %s (%s) is gone: what it made fast may not be any more", old.Name, was.Name, inWords(old.Keys))
		}
	}
	for _, index := range is.Indexes {
		same := func(i probe.Index) bool { return alike(i, index) && i.Unique == index.Unique }
		if slices.ContainsFunc(was.Indexes, same) {
			continue
		}
		c := SchemaChange{Table: is.Name, Name: index.Name, Change: "index_added"}
		if index.Unique && !spared(index.Keys, was, is) && !demandedBefore(index, was) {
			d.breaksf(c, "the unique index %s on %s (%s) is new: it refuses what the previous version may write twice", index.Name, is.Name, inWords(index.Keys))
		} else {
			d.fitsf(c, "the index %s on %s (%s) is new", index.Name, is.Name, inWords(index.Keys))
		}
	}
}

// wentWithColumn says whether the index is gone because a column of it is, which
// is told already.
func wentWithColumn(index probe.Index, was, is probe.Relation) bool {
	left, had := byName(is.Columns, columnName), byName(was.Columns, columnName)
	return slices.ContainsFunc(index.Keys, func(key string) bool {
		_, before := had[key]
		_, now := left[key]
		return before && !now
	})
}

// retyped says whether one of the columns has another type than before, which is
// told already.
func retyped(columns []string, was, is probe.Relation) bool {
	now := byName(is.Columns, columnName)
	return slices.ContainsFunc(was.Columns, func(c probe.Column) bool {
		other, ok := now[c.Name]
		return ok && other.Type != c.Type && slices.Contains(columns, c.Name)
	})
}

// demandedBefore says whether an index that was there refuses as much.
func demandedBefore(index probe.Index, was probe.Relation) bool {
	return slices.ContainsFunc(was.Indexes, func(old probe.Index) bool {
		return old.Unique && !old.Part && !slices.ContainsFunc(old.Keys, func(key string) bool { return !slices.Contains(index.Keys, key) })
	})
}

// spared says whether what the previous version writes cannot come under a rule on
// these columns: it leaves one of them null that it does not know.
func spared(columns []string, was, is probe.Relation) bool {
	known, now := byName(was.Columns, columnName), byName(is.Columns, columnName)
	return slices.ContainsFunc(columns, func(name string) bool {
		_, before := known[name]
		c, ok := now[name]
		return ok && !before && !c.NotNull && c.Filled == ""
	})
}

// constraints finds the rules that rows must obey now and had not to before.
func (d *schemaDiff) constraints(was, is probe.Relation) {
	same := func(a probe.Constraint) func(probe.Constraint) bool {
		return func(b probe.Constraint) bool {
			details := a.Details == b.Details || a.Name == b.Name && retyped(a.Columns, was, is)
			return a.Kind == b.Kind && details && a.Target == b.Target && (a.Name == b.Name || slices.Equal(a.Columns, b.Columns))
		}
	}
	for _, rule := range is.Constraints {
		if slices.ContainsFunc(was.Constraints, same(rule)) {
			continue
		}
		c := SchemaChange{Table: is.Name, Name: rule.Name, Change: "constraint_added", To: rule.Target}
		if d.frees(rule, was, is) {
			d.fitsf(c, "the %s %s of %s (%s) is new, on columns that the previous version does not write", rule.Kind, rule.Name, is.Name, inWords(rule.Columns))
		} else {
			d.breaksf(c, "the %s %s of %s (%s) is new: it refuses what the previous version may write", rule.Kind, rule.Name, is.Name, inWords(rule.Columns))
		}
	}
	for _, rule := range was.Constraints {
		if !slices.ContainsFunc(is.Constraints, same(rule)) {
			d.fitsf(SchemaChange{Table: was.Name, Name: rule.Name, Change: "constraint_dropped"}, "the %s %s of %s is gone", rule.Kind, rule.Name, was.Name)
		}
	}
}

// frees says whether a rule asks nothing of who does not know the new columns: a
// reference with a null in it is none, and a check of new columns only was met by
// every row that is there.
func (*schemaDiff) frees(rule probe.Constraint, was, is probe.Relation) bool {
	if rule.Kind == "foreign key" {
		return spared(rule.Columns, was, is)
	}
	known := byName(was.Columns, columnName)
	return len(rule.Columns) > 0 && !slices.ContainsFunc(rule.Columns, func(name string) bool {
		_, before := known[name]
		return before
	})
}
