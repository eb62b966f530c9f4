package postgres

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Clients that call themselves something new each time cost a bounded number
// of series, and none of them is lost from the count.
func TestFoldBoundsTheGroups(t *testing.T) {
	groups := make([]activityGroup, 0, 1001)
	for i := range 1000 {
		oldest := float64(i)
		groups = append(groups, activityGroup{
			labels: []string{fmt.Sprintf("worker-%d", i), "client backend", "app", "active", "u", "", ""},
			count:  1, oldest: &oldest,
		})
	}
	groups = append(groups, activityGroup{labels: []string{"web", "client backend", "app", "idle", "u", "", ""}, count: 7})

	folded := fold(groups, 200)
	require.Len(t, folded, 202)
	sum := 0.0
	for _, g := range folded {
		sum += g.count
	}
	require.EqualValues(t, 1007, sum)
	require.Equal(t, []string{"other", "", "app", "active", "", "", ""}, folded[200].labels)
	require.EqualValues(t, 800, folded[200].count)
	require.EqualValues(t, 999, *folded[200].oldest)
	require.Nil(t, folded[201].oldest)
	require.Equal(t, groups[:5], fold(groups[:5], 200))
}

// A view that failed is read after the others, so that it costs them nothing.
func TestSuspectsComeLast(t *testing.T) {
	r := newProbe(Config{})
	require.Equal(t, names(views), names(r.inOrder()))
	r.suspect = map[string]bool{"connections": true, "slots": true}
	require.Equal(t, []string{"server", "activity", "replication", "recovery", "wal_receiver", "connections", "slots"}, names(r.inOrder()))
}

func names(views []view) []string {
	all := make([]string, 0, len(views))
	for _, v := range views {
		all = append(all, v.name)
	}
	return all
}

// Seconds behind are known only while the primary is heard.
func TestLagOfReceiver(t *testing.T) {
	v := func(f float64) *float64 { return &f }
	for name, c := range map[string]struct {
		receiver receiver
		want     *float64
	}{
		"caught up and fresh":                 {receiver{status: "streaming", silence: v(10), behind: v(0), age: v(900)}, v(0)},
		"behind and fresh":                    {receiver{status: "streaming", silence: v(10), behind: v(100), age: v(7)}, v(7)},
		"caught up with a silent primary":     {receiver{status: "streaming", silence: v(61), behind: v(0), age: v(900)}, nil},
		"silent, but within its own time-out": {receiver{status: "streaming", silence: v(61), behind: v(0), age: v(900), timeout: 120}, v(0)},
		"never heard of the primary":          {receiver{status: "streaming", behind: v(0), age: v(900)}, nil},
		"the primary's end is not known":      {receiver{status: "streaming", silence: v(1), age: v(900)}, nil},
		"behind, and nothing replayed yet":    {receiver{status: "streaming", silence: v(1), behind: v(100)}, nil},
		"ahead of the known end":              {receiver{status: "streaming", silence: v(1), behind: v(-8), age: v(1)}, v(0)},
		"between two connections":             {receiver{status: "waiting", silence: v(1), behind: v(0), age: v(1)}, nil},
		"two clocks that differ":              {receiver{status: "streaming", silence: v(1), behind: v(8), age: v(-0.2)}, v(0)},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.receiver.lag()) })
	}
}

// What a standby took long to do while it was busy says nothing once it has caught up.
func TestLagOfStandby(t *testing.T) {
	old := 12.0
	require.Zero(t, *knownLag(&old, true))
	require.Zero(t, *knownLag(nil, true))
	require.Equal(t, &old, knownLag(&old, false))
	require.Nil(t, knownLag(nil, false))
}

func TestStateOfAnError(t *testing.T) {
	for code, want := range map[string]probe.ViewState{
		"42501": probe.ViewDenied, "42P01": probe.ViewAbsent, "42883": probe.ViewAbsent, "42703": probe.ViewAbsent,
		"57014": probe.ViewFailed, "55P03": probe.ViewFailed,
	} {
		require.Equal(t, want, stateOf(fmt.Errorf("read: %w", &pgconn.PgError{Code: code})), code)
	}
	require.Equal(t, probe.ViewFailed, stateOf(errors.New("cannot scan")))
}
