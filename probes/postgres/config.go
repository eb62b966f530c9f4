// Package postgres reads a PostgreSQL server, primary or standby, over one
// kept session: reachability, connections, replication and slots.
package postgres

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Config is one entry of the `postgres:` section.
type Config struct {
	// Name of the target: the value of the label target.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// URL of the database (postgresql://user:password@host:5432/app?sslmode=require) or a libpq connection string. An entry whose URL is empty is left out.
	URL probe.Secret `yaml:"url,omitempty" jsonschema:"example=postgresql://rollwatch:secret@127.0.0.1:5432/app"`
	// URLFile holds the URL in place of url; it is read again at each connection, so that a rotated password works.
	URLFile string `yaml:"url_file,omitempty" jsonschema:"example=/run/secrets/database_url"`
	// Required says whether the aggregate health fails while the target is down.
	Required *bool `yaml:"required,omitempty" jsonschema:"default=true"`
	// StatementTimeout of our own statements on the server; a third of the reading's deadline by default, and never more than that.
	StatementTimeout model.Duration `yaml:"statement_timeout,omitempty"`
	// Tables is of how many tables the series are read, those with most to do; 0 is none.
	Tables int `yaml:"tables,omitempty" jsonschema:"minimum=0,maximum=100000,default=0"`
	// Indexes is of how many indexes the series are read, those with most to do; 0 is none.
	Indexes int `yaml:"indexes,omitempty" jsonschema:"minimum=0,maximum=100000,default=0"`
	// Statements is of how many statements the series are read, those that took most time; 0 is none. It needs the extension pg_stat_statements.
	Statements int `yaml:"statements,omitempty" jsonschema:"minimum=0,maximum=1000,default=0"`
	// Migrations are the tools whose record of failed and unfinished migrations is read, where the table exists.
	Migrations []string `yaml:"migrations,omitempty" jsonschema:"enum=prisma,enum=drizzle,enum=goose"`
	// Integrity lists invariants: queries that must return no row, or one row holding 0.
	Integrity []Invariant `yaml:"integrity,omitempty"`
}

// An Invariant is a query that finds what must not exist.
type Invariant struct {
	// Name of the invariant, as it is shown when it is violated.
	Name string `yaml:"name" jsonschema:"required"`
	// Query returns a row for each violation, or one row with their number. It is run read-only.
	Query string `yaml:"query" jsonschema:"required"`
	// Interval between two runs of the query, 10s or more: each takes a connection of its own.
	Interval model.Duration `yaml:"interval,omitempty" jsonschema:"default=1m"`
}

// minInvariantInterval is the shortest interval between two runs of a query.
const minInvariantInterval = 10 * time.Second

// TargetName is the entry's name.
func (c *Config) TargetName() string { return c.Name }

// Address is where the server is, without the password.
func (c *Config) Address() string {
	if !c.URL.Empty() {
		return maskedAddress(c.URL)
	}
	return c.URLFile
}

// RequiredTarget says whether the aggregate health fails with this target.
func (c *Config) RequiredTarget() bool { return c.Required == nil || *c.Required }

// Validate names what contradicts itself.
func (c *Config) Validate() []probe.Fault {
	var faults []probe.Fault
	fault := func(path, problem, cure string) {
		faults = append(faults, probe.Fault{Path: path, Problem: problem, Cure: cure})
	}
	if c.Name == "" {
		fault("$.name", "no name", "give the target a name; it becomes the label target")
	}
	switch {
	case c.URL.Empty() && c.URLFile == "":
		fault("$.url", "neither url nor url_file", "name the database, as in url: postgresql://rollwatch@127.0.0.1:5432/app")
	case !c.URL.Empty() && c.URLFile != "":
		fault("$.url_file", "url and url_file at once", "keep one of them")
	case !c.URL.Empty():
		if _, err := parseURL(c.URL); err != nil {
			fault("$.url", err.Error(), "write it as postgresql://user:password@host:5432/database; escape special characters of the password as %XX")
		}
	}
	if c.StatementTimeout < 0 {
		fault("$.statement_timeout", "a negative time", "write a duration, as in 1s")
	}
	seen := map[string]bool{}
	for i, inv := range c.Integrity {
		at := fmt.Sprintf("$.integrity[%d]", i)
		switch {
		case inv.Name == "":
			fault(at+".name", "an invariant without a name", "name what the query finds, as in orphan_domains")
		case seen[inv.Name]:
			fault(at+".name", fmt.Sprintf("a second invariant named %q", inv.Name), "give each its own name")
		}
		seen[inv.Name] = true
		if strings.TrimSpace(inv.Query) == "" {
			fault(at+".query", "an invariant without a query", "write a select that returns the rows that must not exist")
		}
		switch every := time.Duration(inv.Interval); {
		case every < 0:
			fault(at+".interval", "a negative time", "write a duration, as in 1m")
		case every > 0 && every < minInvariantInterval:
			fault(at+".interval", inv.Interval.String()+" is too short: each run takes a connection of its own", "write 10s or more, as in 1m")
		}
	}
	return faults
}

// Open makes the probe. A url_file that cannot be read or holds no URL is an
// error at once, and is read again at each connection.
func (c *Config) Open(probe.Links) (probe.Probe, error) {
	p := newProbe(*c)
	if _, err := p.target(); err != nil {
		return nil, fmt.Errorf("postgres %s: %w", c.Name, err)
	}
	return p, nil
}

// Grants are the role that reads everything the entry asks for, and no more.
// What the queries of integrity read is known to whoever wrote them.
func (c *Config) Grants() probe.Grants {
	g := probe.Grants{On: "postgres:" + c.Name, SQL: []string{
		"CREATE ROLE rollwatch LOGIN PASSWORD 'change me' CONNECTION LIMIT 3;",
		"GRANT pg_monitor TO rollwatch;",
		"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO rollwatch; -- how near they are to their end; and so for each schema",
	}}
	for _, tool := range migrationTools {
		if !slices.Contains(c.Migrations, tool.name) {
			continue
		}
		schema, table := tool.table(*c)
		g.SQL = append(g.SQL,
			fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO rollwatch;", pgx.Identifier{schema}.Sanitize()),
			fmt.Sprintf("GRANT SELECT ON %s TO rollwatch; -- migrations: %s", pgx.Identifier{schema, table}.Sanitize(), tool.name))
	}
	for _, i := range c.Integrity {
		g.SQL = append(g.SQL, fmt.Sprintf("-- and SELECT on whatever the invariant %s reads", i.Name))
	}
	return g
}
