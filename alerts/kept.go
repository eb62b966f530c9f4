package alerts

import "sync"

// Kept is what earlier judgements of one rollout worked out, so that the next takes
// on only what is new. It is nothing but a cache: what is found does not depend on
// it. It may be used by several judgements at a time. The zero value is ready.
type Kept struct {
	counts  countFold
	tenants tenantFold

	mu    sync.Mutex
	folds map[string]*fold // of the gates that compare, by name
}
