package postgres

import (
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// serverView is the name of the view that must be read: without it nothing
// else can be understood.
const serverView = "server"

// server is what the other views need to know of the server, found anew at
// each read: a standby is promoted and a role is granted while we are connected.
type server struct {
	standby      bool
	user         string
	readsStats   bool // member of pg_read_all_stats, as pg_monitor is
	shortVersion string
	connections  float64  // max_connections
	reserved     float64  // of them, for superusers and for pg_use_reserved_connections
	used         *float64 // connections; nil while it is not known
}

// limit is how many connections ordinary roles may have together.
func (s server) limit() float64 { return s.connections - s.reserved }

var (
	static = &probe.Metric{
		Name: "pg_static", Type: probe.Gauge, Labels: []string{"short_version", "version"},
		Help:   "Always 1; its labels name the version of the server.",
		Source: "version()",
		Note:   "A gauge without the label server; postgres_exporter leaves it untyped.",
	}
	isReplica = &probe.Metric{
		Name: "pg_replication_is_replica", Type: probe.Gauge,
		Help:   "Whether the server is a standby (1) or a primary (0).",
		Source: "pg_is_in_recovery()",
	}
	startTime = &probe.Metric{
		Name: "pg_postmaster_start_time_seconds", Type: probe.Gauge, Unit: "seconds",
		Help:   "When the server was started, in Unix time.",
		Source: "pg_postmaster_start_time()",
	}
	maxConnections = &probe.Metric{
		Name: "pg_settings_max_connections", Type: probe.Gauge,
		Help:   "How many connections the server takes in all, the reserved ones among them.",
		Source: "max_connections",
	}
	superuserReserved = &probe.Metric{
		Name: "pg_settings_superuser_reserved_connections", Type: probe.Gauge,
		Help:   "How many of the connections are kept for superusers.",
		Source: "superuser_reserved_connections",
	}
	reserved = &probe.Metric{
		Name: "pg_settings_reserved_connections", Type: probe.Gauge,
		Help:   "How many of the connections are kept for members of pg_use_reserved_connections; since PostgreSQL 16.",
		Source: "reserved_connections",
	}
	serverMetrics = []*probe.Metric{static, isReplica, startTime, maxConnections, superuserReserved, reserved}
)

func serverSQL(here) string {
	return `SELECT pg_is_in_recovery(), current_user::text,
	pg_has_role('pg_read_all_stats', 'USAGE'),
	current_setting('server_version'), version(),
	extract(epoch FROM pg_postmaster_start_time())::float8,
	current_setting('max_connections')::float8,
	current_setting('superuser_reserved_connections')::float8,
	current_setting('reserved_connections', true)::float8`
}

func takeServer(c *cycle, rows *rows) error {
	var (
		settings, version  string
		start, limit, kept float64
		keptForRole        *float64
		s                  = &c.server
	)
	err := scanOne(rows, &s.standby, &s.user, &s.readsStats, &settings, &version, &start, &limit, &kept, &keptForRole)
	if err != nil {
		return err
	}
	s.connections, s.reserved = limit, kept
	if keptForRole != nil {
		s.reserved += *keptForRole
	}
	s.shortVersion, _, _ = strings.Cut(settings, " ") // "15.18 (Debian 15.18-0+deb12u1)"
	c.add(
		static.Sample(1, s.shortVersion, version),
		isReplica.Sample(truth(s.standby)),
		startTime.Sample(start),
		maxConnections.Sample(limit),
		superuserReserved.Sample(kept),
	)
	c.addKnown(reserved, keptForRole)
	return nil
}

// truth is a bool as metrics show it.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
