package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// Whatever the type of a column, what it holds is read as the server writes it;
// nothing is written for it.
func TestAColumnIsReadAsText(t *testing.T) {
	pg := live.Postgres(t)
	config := &Config{Name: "main", URL: probe.NewSecret(pg.URL)}

	values, err := Column(t.Context(), config, "select x from (values (1, '6f1c2d9e-8c50-4c0e-9a53-111111111111'::uuid), (2, null)) v(n, x)", 10)
	require.NoError(t, err)
	require.Equal(t, []string{"6f1c2d9e-8c50-4c0e-9a53-111111111111"}, values, "NULL is nobody")

	values, err = Column(t.Context(), config, "select generate_series(1, 1000)", 3)
	require.NoError(t, err)
	require.Equal(t, []string{"1", "2", "3"}, values)

	_, err = Column(t.Context(), config, "create table t (x int)", 3)
	require.ErrorContains(t, err, "read-only")
	_, err = Column(t.Context(), config, "select slug from companies", 3)
	require.ErrorContains(t, err, `"companies" does not exist`)
}
