package probe

import (
	"cmp"
	"slices"
)

// maxNamed is how many things a health document names where it names some.
const maxNamed = 5

// Worst says what is to be said of the items of which there is the most to say,
// the most first and at most five. How much there is, is asked of all, 0 for
// nothing; what, of those that are named alone: of thousands it would cost more
// than to read them.
func Worst[T any](items []T, much func(T) float64, say func(T) any) []any {
	type answer struct {
		much float64
		item T
	}
	var answers []answer
	for _, item := range items {
		if n := much(item); n > 0 {
			answers = append(answers, answer{n, item})
		}
	}
	slices.SortStableFunc(answers, func(a, b answer) int { return cmp.Compare(b.much, a.much) })
	var named []any
	for _, a := range answers[:min(len(answers), maxNamed)] {
		named = append(named, say(a.item))
	}
	return named
}
