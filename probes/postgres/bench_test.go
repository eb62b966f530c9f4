package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// BenchmarkRead measures one reading of an idle primary over the kept session.
func BenchmarkRead(b *testing.B) {
	pg := live.Postgres(b)
	p, err := (&Config{Name: "main", URL: probe.NewSecret(pg.URL)}).Open(nil)
	require.NoError(b, err)
	defer p.Close()
	for b.Loop() {
		_, err := p.Read(b.Context())
		require.NoError(b, err)
	}
}
