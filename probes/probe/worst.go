package probe

import "slices"

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
	var worst []answer // of those seen so far; of equals the first
	for _, item := range items {
		n := much(item)
		if n <= 0 || len(worst) == maxNamed && n <= worst[maxNamed-1].much {
			continue
		}
		at := slices.IndexFunc(worst, func(a answer) bool { return n > a.much })
		if at < 0 {
			at = len(worst)
		}
		worst = slices.Insert(worst, at, answer{n, item})
		worst = worst[:min(len(worst), maxNamed)]
	}
	var named []any
	for _, a := range worst {
		named = append(named, say(a.item))
	}
	return named
}
