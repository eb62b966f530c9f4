package alerts

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDataThatBecomesWrong(t *testing.T) {
	const (
		orphans   = `pg_invariant_violations{job="rollwatch",target="main",invariant="orphan_domains"}`
		checksums = `pg_stat_database_checksum_failures_total{job="rollwatch",target="main",datname="app"}`
		security  = `pg_row_security_tables{job="rollwatch",target="main"}`
		elsewhere = `pg_invariant_violations{job="rollwatch",target="other",invariant="orphan_domains"}`
	)
	// The rollout began ten minutes, forty readings, ago; the first twenty are before it.
	service := &Service{Name: "web", Databases: []string{"main"}}
	for name, c := range map[string]struct {
		series  map[string]string
		state   State
		message string
	}{
		"all is well":                         {map[string]string{orphans: "0x60", checksums: "0x60", security: "4x60"}, OK, "none of 3 signs"},
		"an invariant is violated":            {map[string]string{orphans: "0x30 3x30"}, Firing, "main: 3 violations of the invariant orphan_domains since"},
		"it was violated before":              {map[string]string{orphans: "3x60"}, OK, "none of 1"},
		"it is violated more than before":     {map[string]string{orphans: "3x30 4x30"}, Firing, ", 3 before"},
		"it was mended since":                 {map[string]string{orphans: "0x30 1x2 0x28"}, Firing, "1 violations"},
		"it was mended before, and broken":    {map[string]string{orphans: "5x10 0x20 2x30"}, Firing, ", 0 before"},
		"nobody looked before":                {map[string]string{orphans: "_x25 2x35"}, OK, "none of 1"},
		"a page is corrupt":                   {map[string]string{checksums: "7x30 8x30"}, Firing, "8 pages of the database app with a wrong checksum"},
		"the statistics were reset":           {map[string]string{checksums: "7x30 0x30"}, OK, ""},
		"row-level security was switched off": {map[string]string{security: "4x30 3x30"}, Firing, "3 tables with row-level security since"},
		"another service's database":          {map[string]string{orphans: "0x60", elsewhere: "0x30 9x30"}, OK, ""},
		"nothing is read any more":            {map[string]string{orphans: "0x40"}, Stale, "no database was read since"},
		"it is violated, and then unreadable": {map[string]string{orphans: "0x30 1x5"}, Firing, "1 violations"},
		"nothing was ever read":               {map[string]string{}, NoSeries, ""},
	} {
		t.Run(name, func(t *testing.T) {
			scene := probeScene(t, service, 15*time.Minute, c.series)
			scene.Subject.StartedAt = time.Unix(0, 0).Add(5 * time.Minute)
			f := findings(t, scene)["data_corruption"]
			require.Equal(t, c.state, f.State, f.Message)
			require.Contains(t, f.Message, c.message)
			require.Empty(t, f.Cause)
			require.Equal(t, c.state != NoSeries && c.series[orphans] != "", f.Required, "required where there are invariants")
		})
	}
}
