package feature

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	start    = time.Unix(1_000_000, 0)
	errFault = errors.New("status 500")
)

func namesOf(tenants []*tenant) (names []string) {
	for _, t := range tenants {
		names = append(names, t.name)
	}
	return names
}

// A turn takes up to n tenants and tries each; fails says for whom.
func turn(l *line, now time.Time, n int, fails ...string) []string {
	taken := l.next(now, time.Minute, n)
	for _, t := range taken {
		var err error
		for _, name := range fails {
			if name == t.name || name == "all" {
				err = errFault
			}
		}
		t.took(now, err)
	}
	l.back(taken)
	return namesOf(taken)
}

func TestEveryTenantGetsItsTurn(t *testing.T) {
	l := newLine()
	l.admit([]string{"a", "b", "c", "d", "e"})
	require.Equal(t, []string{"a", "b"}, turn(l, start, 2))
	require.Equal(t, []string{"c", "d"}, turn(l, start, 2))
	require.Equal(t, []string{"e"}, turn(l, start, 2), "nobody twice within the interval")
	require.Empty(t, turn(l, start.Add(59*time.Second), 2))
	require.Equal(t, []string{"a", "b"}, turn(l, start.Add(time.Minute), 2), "whoever was tried longest ago is next")
}

// That a feature failed twice in a row must be known soon, not a rotation later.
func TestWhoFailedOnceIsTriedAgainBeforeTheOthers(t *testing.T) {
	l := newLine()
	l.admit([]string{"a", "b", "c", "d"})
	require.Equal(t, []string{"a", "b"}, turn(l, start, 2, "a"))
	require.Equal(t, []string{"a", "c"}, turn(l, start, 2, "a"))
	require.True(t, l.byName["a"].broken())
	require.Equal(t, []string{"d"}, turn(l, start, 2), "broken is known: it waits for its turn like the others")
	require.Equal(t, start, l.byName["a"].failing)
}

// Where everything fails, retries must not keep the rest from being tried.
func TestRetriesTakeHalfOfTheTriesAtMost(t *testing.T) {
	l := newLine()
	var all []string
	for i := range 100 {
		all = append(all, fmt.Sprint(i))
	}
	l.admit(all)
	for range 30 {
		turn(l, start, 10, "all")
	}
	for name, who := range l.byName {
		require.Equal(t, 2, who.failures, name)
	}
}

// A round that ends early must not send those it did not come to behind the others.
func TestWhoWasNotTriedKeepsTheTurn(t *testing.T) {
	l := newLine()
	l.admit([]string{"a", "b", "c", "d"})
	taken := l.next(start, time.Minute, 3)
	taken[0].took(start, nil)
	l.back(taken[:1])
	l.keep(taken[1:])
	require.Equal(t, []string{"b", "c", "d"}, turn(l, start, 9))
}

// Of more that fail than can be told, what broke last is what a rollout did.
func TestWhoBrokeLastIsToldFirst(t *testing.T) {
	var all []*tenant
	for i := range maxListed + 5 {
		who := &tenant{name: fmt.Sprint(i)}
		who.took(start.Add(time.Duration(i)*time.Second), errFault)
		all = append(all, who)
	}
	listed := toList(all)
	require.Len(t, listed, maxListed+5)
	require.Equal(t, all[maxListed+4], listed[0])
}

func TestTenantsComeAndGo(t *testing.T) {
	l := newLine()
	l.admit([]string{"a", "b", "c"})
	turn(l, start, 3, "b")
	taken := l.next(start, time.Minute, 1)
	require.Equal(t, []string{"b"}, namesOf(taken))
	l.admit([]string{"a", "new"})
	l.back(taken)
	require.Equal(t, []string{"new"}, turn(l, start, 9), "new ones first")
	require.Equal(t, []string{"a", "new"}, turn(l, start.Add(time.Minute), 9), "b is no tenant any more, nor is c")
	require.Len(t, l.byName, 2)
}
