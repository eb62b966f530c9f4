package postgres

import (
	"errors"
	"fmt"
	"math"
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

// Whatever a server writes in a row is read as what it is, or said to be wrong.
func TestRowsAreReadInOrder(t *testing.T) {
	r := &rows{all: []string{
		`{"coalesce":"a","coalesce":"\u00e4\"","float8":1e+300,"float8":"Infinity","float8":null,"bool":true}`,
		`{"coalesce":"a"}`,
		`{"x":`,
		`{"never":"reached"}`,
	}}
	var a, b string
	var big, infinite float64
	var none *float64
	var yes bool
	require.True(t, r.Next())
	require.NoError(t, scan(r, &a, &b, &big, &infinite, &none, &yes))
	require.Equal(t, []any{"a", "ä\"", 1e300, math.Inf(1), (*float64)(nil), true}, []any{a, b, big, infinite, none, yes})
	require.True(t, r.Next())
	require.ErrorContains(t, scan(r, &a, &b), "1 columns, not 2")
	require.False(t, r.Next(), "what is no row ends the view")
	require.Error(t, r.err)
	require.False(t, r.Next())

	r = &rows{all: []string{`{"a":null}`}}
	require.True(t, r.Next())
	require.ErrorContains(t, scan(r, &a), "is NULL")
}

func FuzzRows(f *testing.F) {
	f.Add(`{"a":"x","a":1}`)
	f.Add(`{"a":{"b":[1,2]}}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		r := &rows{all: []string{text}}
		for r.Next() {
			var s string
			var n *float64
			_ = scan(r, &s, &n) // whatever it is, it must not panic
		}
	})
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
