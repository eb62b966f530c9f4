package alerts

import (
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
)

// What is parsed of the configuration is kept: each judgement of each service needs
// it again, and compiling expressions would take most of its time. There is no more of
// it than configurations name.
var (
	parsedSelectors sync.Map // of *labels.Matcher slices, by text
	regexps         sync.Map // of *labels.Matcher, by itself without what is compiled
)

// parseSelector parses a selector. The slice is the caller's own.
func parseSelector(text string) ([]*labels.Matcher, error) {
	kept, _ := parsedSelectors.Load(text)
	if matchers, ok := kept.([]*labels.Matcher); ok {
		return slices.Clone(matchers), nil
	}
	matchers, err := promQL.ParseMetricSelector(text)
	if err != nil {
		return nil, err
	}
	parsedSelectors.Store(text, slices.Clone(matchers))
	return matchers, nil
}

// A pattern is a matcher by an expression.
type pattern struct {
	match      labels.MatchType
	name, text string
}

// matching is a matcher by an expression that is known to compile.
func matching(match labels.MatchType, name, text string) *labels.Matcher {
	key := pattern{match, name, text}
	kept, _ := regexps.Load(key)
	if m, ok := kept.(*labels.Matcher); ok {
		return m
	}
	m := labels.MustNewMatcher(match, name, text)
	regexps.Store(key, m)
	return m
}
