package probe

import (
	"cmp"
	"slices"
)

// maxNamed is how many things a health document names where it names some.
const maxNamed = 5

// Worst answers what is to be said of the items of which there is the most to
// say, the most first and at most five; ask answers how much that is, 0 for nothing.
func Worst[T any](items []T, ask func(T) (much float64, say any)) []any {
	type answer struct {
		much float64
		say  any
	}
	var answers []answer
	for _, item := range items {
		if much, say := ask(item); much > 0 {
			answers = append(answers, answer{much, say})
		}
	}
	slices.SortStableFunc(answers, func(a, b answer) int { return cmp.Compare(b.much, a.much) })
	var named []any
	for _, a := range answers[:min(len(answers), maxNamed)] {
		named = append(named, a.say)
	}
	return named
}
