package alerts

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// queueEviction is the alert that a Redis may drop the keys of a service's
// queues. It is no gate: no version brought it, and none takes it back.
const queueEviction = "RollwatchQueueEviction"

// evictionFor is how long a policy stands before it is told: one who changes it
// by hand and back has told nobody's pager.
const evictionFor = 10 * time.Minute

// standing are the rules about what a service stands on that no gate judges,
// because no rollout changes it.
func standing(service *Service) []ruleGroup {
	if len(service.Queues) == 0 {
		return nil
	}
	names := make([]string, len(service.Queues))
	for i, name := range service.Queues {
		names[i] = regexp.QuoteMeta(name)
	}
	const safe = "max by (target) (%s_redis_noeviction{target=~%q})"
	targets := strings.Join(names, "|")
	return []ruleGroup{{Name: "rollwatch/" + service.Name + "/queue_eviction", Rules: []rule{{
		Alert:  queueEviction,
		Expr:   fmt.Sprintf("("+safe+" or "+safe+") == 0", "bullmq", targets, "asynq", targets),
		For:    short(evictionFor),
		Labels: map[string]string{"severity": "warning", "service": service.Name},
		Annotations: map[string]string{
			"summary":     "The Redis of a queue may drop its jobs when memory runs out.",
			"description": "The Redis of the queues {{ $labels.target }} of " + service.Name + " evicts keys when memory runs out: its maxmemory-policy is not noeviction.",
			"runbook_url": runbooks + queueEviction + ".md",
		},
	}}}}
}
