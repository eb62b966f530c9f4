package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/verdict"
)

// Whoever waits for a verdict while the engine is replaced hears of what the
// next engine decides, not of what the last one knew.
func TestWhoWaitsAcrossAReloadHearsTheNewEngine(t *testing.T) {
	ledger, err := verdict.OpenLedger(filepath.Join(t.TempDir(), "ledger.db"))
	require.NoError(t, err)
	defer ledger.Close()
	engine := func() (*verdict.Engine, error) {
		return verdict.NewEngine(t.Context(), verdict.Options{
			Services: []*alerts.Service{{Name: "api"}}, Window: collector.NewMemory(), Ledger: ledger, Interval: time.Minute,
		})
	}
	var j judge
	require.NoError(t, j.succeed(engine))
	rollout, _, err := j.Register(t.Context(), verdict.Registration{Service: "api", Version: "2", Strategy: alerts.Canary}, "")
	require.NoError(t, err)

	heard := make(chan verdict.Document, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() {
		doc, err := j.Await(ctx, rollout.ID, rollout.Seq)
		if err == nil {
			heard <- doc
		}
		close(heard)
	}()
	require.NoError(t, j.succeed(engine))
	_, err = j.SetOverride(t.Context(), rollout.ID, verdict.Override{
		Verdict: verdict.Rollback, Reason: "tenants complain", Author: "ada", Until: time.Now().Add(time.Hour),
	})
	require.NoError(t, err)
	require.Equal(t, verdict.Rollback, (<-heard).Verdict)
}
