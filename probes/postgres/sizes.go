package postgres

var sizes = family{source: "pg_database_size()", labels: []string{"datname"}}

var sizeColumns = []column{
	sizes.with("Once a minute: the server walks through the files.").gauge("pg_database_size(d.oid)", "pg_database_size_bytes", "bytes", "Size of the database on disk."),
}

// The sizes of databases that our role may neither connect to nor read about
// are left out; pg_monitor may read all.
func sizesSQL(at here) string {
	return `SELECT d.datname::text, ` + selected(at, sizeColumns) + ` FROM pg_database d
	WHERE d.datallowconn AND (has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE'))
	ORDER BY d.oid LIMIT ` + number(mostDatabases)
}

func takeSizes(c *cycle, r *rows) error { return takeColumns(c, r, 1, sizeColumns) }

var walDirectory = family{source: "pg_ls_waldir()"}

var walColumns = []column{
	walDirectory.gauge("count(*)", "pg_wal_segments", "", "WAL files on disk."),
	walDirectory.gauge("coalesce(sum(size), 0)", "pg_wal_size_bytes", "bytes", "Size of the WAL files on disk."),
}

func walSQL(at here) string {
	return "SELECT " + selected(at, walColumns) + " FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
}

func walNeeds(Config) need {
	return need{"has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE')", "GRANT pg_monitor"}
}

func takeWAL(c *cycle, r *rows) error { return takeColumns(c, r, 0, walColumns) }

var roles = family{source: "pg_roles", labels: []string{"rolname"}}

var roleColumns = []column{
	roles.with("The hundred roles that have a limit or may log in, by name.").gauge("rolconnlimit", "pg_roles_connection_limit", "", "How many connections the role may have; -1 is no limit of its own."),
}

func rolesSQL(at here) string {
	return "SELECT rolname::text, " + selected(at, roleColumns) + ` FROM pg_roles
	WHERE rolcanlogin OR rolconnlimit >= 0 ORDER BY rolname LIMIT 100`
}

func takeRoles(c *cycle, r *rows) error { return takeColumns(c, r, 1, roleColumns) }
