package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// mostColumns is how many columns a schema may have that is read: they are kept
// with each rollout, and read again once a minute.
const mostColumns = 20_000

// schemaView is the part of a reading that is the schema.
const schemaView = "schema"

var schemaColumns = &probe.Metric{
	Name: "pg_schema_columns", Type: probe.Gauge,
	Help: "How many columns the tables and views of the connected database have, partitions, chunks and extensions left out. " +
		"With more than 20,000 the schema is not compared when a rollout is rolled back.",
	Source: "pg_class, pg_attribute",
}

// separator stands between the names of a list: a name holds no such character.
const separator = "\x1f"

// schemaSQL reads what everybody may read and nobody can lock: functions that
// write definitions out (pg_get_indexdef and the like) wait for whoever alters
// the table, which is when they matter most. Each row is one thing: what it is,
// of which relation, its name, and four columns more that depend on what it is.
func schemaSQL(here) string {
	names := func(column, from string) string {
		return "(SELECT string_agg(" + column + "::text, chr(31) ORDER BY place) FROM " + from + ")"
	}
	// Where in its statement a part of an expression stood is no part of it.
	tree := func(column string) string {
		return "regexp_replace(" + column + "::text, ':location -?[0-9]+', '', 'g')"
	}
	return `WITH rel AS MATERIALIZED (
		SELECT c.oid, CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || c.relname AS name, c.relkind, c.relnatts
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND ` + usersOwn + `
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
	size AS MATERIALIZED (SELECT coalesce(sum(relnatts), 0) AS columns FROM rel),
	small AS MATERIALIZED (SELECT oid, name, relkind FROM rel, size WHERE size.columns <= ` + number(mostColumns) + `)
	SELECT 'columns' AS what, '' AS relation, columns::text AS name, '' AS a, '' AS b, '' AS c, false AS flag, false AS part FROM size
	UNION ALL SELECT 'relation', name, '', relkind::text, '', '', false, false FROM small
	UNION ALL SELECT 'column', r.name, a.attname, format_type(a.atttypid, a.atttypmod),
		CASE WHEN a.attidentity <> '' THEN 'identity' WHEN a.attgenerated <> '' THEN 'generated' WHEN a.atthasdef THEN 'default' ELSE '' END,
		a.attnum::text, a.attnotnull, false
		FROM small r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attnum > 0 AND NOT a.attisdropped
	UNION ALL SELECT 'index', r.name, i.relname, m.amname, ` + names("a.attname", "(SELECT attname, attnum AS place FROM pg_attribute WHERE attrelid = x.indexrelid AND attnum > 0) a") + `,
		left(md5(concat_ws(' ', x.indnkeyatts, x.indclass, x.indcollation, x.indoption, ` + tree("x.indexprs") + `, ` + tree("x.indpred") + `)), 8),
		x.indisunique OR x.indisexclusion, x.indpred IS NOT NULL
		FROM small r JOIN pg_index x ON x.indrelid = r.oid JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am m ON m.oid = i.relam WHERE x.indisvalid
	UNION ALL SELECT 'constraint', r.name, k.conname,
		coalesce(` + names("a.attname", "(SELECT attname, place FROM unnest(k.conkey) WITH ORDINALITY u(num, place) JOIN pg_attribute ON attrelid = k.conrelid AND attnum = num) a") + `, ''),
		coalesce((SELECT t.name FROM rel t WHERE t.oid = k.confrelid), ''),
		left(md5(concat_ws(' ', k.confkey, k.confmatchtype, ` + tree("k.conbin") + `)), 8), k.contype = 'f', false
		FROM small r JOIN pg_constraint k ON k.conrelid = r.oid WHERE k.contype IN ('c', 'f')
	UNION ALL SELECT 'enum', '', CASE n.nspname WHEN 'public' THEN '' ELSE n.nspname || '.' END || t.typname,
		` + names("l.enumlabel", "(SELECT enumlabel, enumsortorder AS place FROM pg_enum WHERE enumtypid = t.oid) l") + `, '', '', false, false
		FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'e' AND ` + usersOwn + `
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
	LIMIT ` + number(3*mostColumns)
}

// tooLargeError is a schema that is not read.
type tooLargeError struct{ columns float64 }

func (e tooLargeError) Error() string {
	return fmt.Sprintf("the schema has %.0f columns, and %d are compared at most", e.columns, mostColumns)
}

func tooLarge(err error) bool {
	_, is := errors.AsType[tooLargeError](err)
	return is
}

func takeSchema(c *cycle, r *rows) error {
	taken := schemaTaker{relations: map[string]*probe.Relation{}}
	for r.Next() {
		if err := taken.take(r); err != nil {
			return err
		}
	}
	if r.err != nil {
		return r.err
	}
	c.add(schemaColumns.Sample(taken.columns))
	if taken.columns > mostColumns || len(r.all) >= 3*mostColumns {
		return tooLargeError{taken.columns}
	}
	c.schema = taken.schema()
	return nil
}

// A schemaTaker puts a Schema together from its rows.
type schemaTaker struct {
	columns   float64
	relations map[string]*probe.Relation
	enums     []probe.Enum
}

var relationKinds = map[string]string{"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}

func (t *schemaTaker) take(r *rows) error {
	var what, relation, name, d, e, f string
	var flag, part bool
	if err := scan(r, &what, &relation, &name, &d, &e, &f, &flag, &part); err != nil {
		return err
	}
	of := t.relations[relation]
	if of == nil && relation != "" {
		of = &probe.Relation{Name: relation}
		t.relations[relation] = of
	}
	switch what {
	case "columns":
		columns, err := float([]byte(name))
		t.columns = columns
		return err
	case "relation":
		of.Kind = relationKinds[d]
	case "column":
		place, err := strconv.Atoi(f)
		of.Columns = append(of.Columns, probe.Column{Name: name, Place: place, Type: d, Filled: e, NotNull: flag})
		return err
	case "index":
		of.Indexes = append(of.Indexes, probe.Index{Name: name, Method: d, Keys: strings.Split(e, separator), Details: f, Unique: flag, Part: part})
	case "constraint":
		kind := "check"
		if flag {
			kind = "foreign key"
		}
		of.Constraints = append(of.Constraints, probe.Constraint{Name: name, Kind: kind, Columns: namesOf(d), Target: e, Details: f})
	case "enum":
		t.enums = append(t.enums, probe.Enum{Name: name, Values: namesOf(d)})
	}
	return nil
}

// namesOf takes a list of names apart.
func namesOf(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, separator)
}

// schema is everything that was taken, in an order that depends on names only.
func (t *schemaTaker) schema() *probe.Schema {
	s := &probe.Schema{Enums: t.enums}
	for _, r := range t.relations {
		slices.SortFunc(r.Columns, func(a, b probe.Column) int { return cmp.Compare(a.Name, b.Name) })
		slices.SortFunc(r.Indexes, func(a, b probe.Index) int { return cmp.Compare(a.Name, b.Name) })
		slices.SortFunc(r.Constraints, func(a, b probe.Constraint) int { return cmp.Compare(a.Name, b.Name) })
		s.Relations = append(s.Relations, *r)
	}
	slices.SortFunc(s.Relations, func(a, b probe.Relation) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.Enums, func(a, b probe.Enum) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Inspect reads the schema now, on a connection of its own. It waits for a survey
// that is under way: two connections at most are ours.
func (r *reader) Inspect(ctx context.Context) (*probe.Schema, error) {
	if err := r.beside.take(ctx); err != nil {
		return nil, inTime(ctx, fmt.Errorf("a survey is under way: %w", err))
	}
	defer r.beside.give()
	config, err := r.target()
	if err != nil {
		return nil, err
	}
	s, err := connect(ctx, config, r.statementTimeout(ctx))
	if err != nil {
		return nil, inTime(ctx, err)
	}
	defer s.close() //nolint:contextcheck // the goodbye has a time of its own
	c := &cycle{}
	start := time.Now()
	view, err := s.survey(ctx, c, view{name: schemaView, sql: schemaSQL, take: takeSchema}, here{s.version, r.config})
	if err != nil {
		return nil, err
	}
	c.schema.Stamp(start)
	r.survey.keep(finding{at: start, samples: c.samples, view: view, schema: c.schema})
	if c.schema == nil {
		return nil, cmp.Or(view.Err, errNoSchema)
	}
	return c.schema, nil
}

var errNoSchema = errors.New("the server did not tell its schema")

// A turn is a lock that can be waited for within a context.
type turn chan struct{}

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }
