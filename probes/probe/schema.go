package probe

import (
	"context"
	"time"
)

// An Inspector is a Probe that can tell what the tables of its database look
// like now, which costs more than a Read and is asked for when it matters: when
// a rollout is registered, and when it is rolled back. Inspect may run beside
// Read and Discover.
type Inspector interface {
	Inspect(ctx context.Context) (*Schema, error)
}

// A Schema is what the relations of one database look like, as far as a program
// that uses them depends on it. It is read-only once it was read, and sorted: the
// same database gives the same Schema.
type Schema struct {
	ReadAt    time.Time  `json:"-"`
	Relations []Relation `json:"relations,omitempty"`
	Enums     []Enum     `json:"enums,omitempty"`
}

// Stamp says when the schema was read; a Schema that is nil has no such time.
func (s *Schema) Stamp(at time.Time) {
	if s != nil {
		s.ReadAt = at.UTC()
	}
}

// Columns is how many columns there are.
func (s *Schema) Columns() int {
	n := 0
	for _, r := range s.Relations {
		n += len(r.Columns)
	}
	return n
}

// A Relation is a table, or what can be queried like one.
type Relation struct {
	Name        string       `json:"name"` // with its schema, unless that is public
	Kind        string       `json:"kind"` // "table", "view", "materialized view" or "foreign table"
	Columns     []Column     `json:"columns,omitempty"`
	Indexes     []Index      `json:"indexes,omitempty"`
	Constraints []Constraint `json:"constraints,omitempty"`
}

// A Column is one column of a Relation.
type Column struct {
	Name    string `json:"name"`
	Place   int    `json:"place"` // in the table; a new name leaves it
	Type    string `json:"type"`  // as PostgreSQL writes it: character varying(50)
	NotNull bool   `json:"notNull,omitempty"`
	Filled  string `json:"filled,omitempty"` // what fills it when an insert names it not: "default", "identity", "generated"; or nothing
}

// An Index is one valid index. Two with all but their names alike serve alike.
type Index struct {
	Name    string   `json:"name"`
	Method  string   `json:"method"` // btree, gin ...
	Unique  bool     `json:"unique,omitempty"`
	Keys    []string `json:"keys"`           // columns in their order; an expression has a name of PostgreSQL's making
	Details string   `json:"details"`        // hash of the rest: operators, order, expressions, the WHERE
	Part    bool     `json:"part,omitempty"` // it has a WHERE, so that it speaks of some rows only
}

// A Constraint is what rows must obey besides their types: a check, or a
// reference to another table.
type Constraint struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"` // "check" or "foreign key"
	Columns []string `json:"columns,omitempty"`
	Target  string   `json:"target,omitempty"` // of a foreign key: the table it refers to
	Details string   `json:"details"`          // hash of the rest
}

// An Enum is a type that lists its values.
type Enum struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}
