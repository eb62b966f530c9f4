package collector

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// fakeDatabase is a probe that can be asked for its schema.
type fakeDatabase struct {
	fakeProbe
	inspect func(ctx context.Context) (*probe.Schema, error)
}

func (d *fakeDatabase) Inspect(ctx context.Context) (*probe.Schema, error) { return d.inspect(ctx) }

func TestDatabasesAreInspectedOnDemandAndOneThatHangsCostsItself(t *testing.T) {
	known, fresh := &probe.Schema{Enums: []probe.Enum{{Name: "old"}}}, &probe.Schema{}
	reads := func(context.Context, int) (probe.Reading, error) { return probe.Reading{Schema: known}, nil }
	database := func(inspect func(ctx context.Context) (*probe.Schema, error)) *fakeDatabase {
		return &fakeDatabase{fakeProbe: fakeProbe{read: reads}, inspect: inspect}
	}
	targets := []Target{
		target("well", database(func(context.Context) (*probe.Schema, error) { return fresh, nil })),
		target("ill", database(func(context.Context) (*probe.Schema, error) { return nil, errors.New("connection refused") })),
		target("hangs", database(func(ctx context.Context) (*probe.Schema, error) { <-ctx.Done(); return nil, ctx.Err() })),
		target("panics", database(func(context.Context) (*probe.Schema, error) { panic("oh") })),
		target("redis", &fakeProbe{read: reads}),
	}
	scheduled(t, targets, func(t *testing.T, s *Schedule, _ *observer.ObservedLogs) {
		require.Nil(t, s.Inspect(t.Context(), []string{"ill"})[0].Schema, "nothing was read yet")
		<-time.After(3 * time.Second) // of the bubble
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		found := s.Inspect(ctx, []string{"well", "ill", "hangs", "panics", "redis", "nobody"})
		require.Equal(t, 2*time.Second, time.Since(start).Truncate(time.Second), "all at once, and no longer than was asked")
		require.Equal(t, Inspection{Target: "well", Schema: fresh}, found[0])
		require.EqualError(t, found[1].Err, "fake:ill: connection refused")
		require.Same(t, known, found[1].Schema, "what was read last is told, with the error")
		require.ErrorIs(t, found[2].Err, context.DeadlineExceeded)
		require.ErrorContains(t, found[3].Err, "panicked")
		for _, i := range found[4:] {
			require.Nil(t, i.Schema)
			require.ErrorIs(t, i.Err, errNotInspected)
		}
	})
}
