package simulate

import (
	"math"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// A Label is what is right to do.
type Label string

// The labels.
const (
	Keep     Label = "keep"     // never roll back
	Hold     Label = "hold"     // hold at the end, neither promote nor roll back
	Report   Label = "report"   // either is right, as long as it is said
	Rollback Label = "rollback" //
)

// A Scenario is what happens under one rollout.
type Scenario struct {
	Number  string // of the benchmark's list
	Name    string
	Label   Label
	Cause   alerts.Cause         // what firing evidence is to be attributed to; "" the version
	Onset   time.Duration        // of the fault, after the start
	Probes  bool                 // it is told by what probes read, not by requests
	Workers bool                 // its workers tell their version
	Parts   *Parts               // what the requests are made of, where the service tells
	Note    string               // what a reader has to know
	Only    func(r Rollout) bool // the rollouts under which it is played; nil: all
	At      func(w *weather, t time.Duration, r Rollout)
}

// A Rollout is how the version is put in production.
type Rollout struct {
	Name     string
	Strategy alerts.Strategy
	Share    float64       // of the traffic that a canary gets
	Watch    time.Duration // of it
}

// Rollouts are the strategies of the benchmark.
var Rollouts = []Rollout{
	{"canary 1 %", alerts.Canary, 0.01, 15 * time.Minute},
	{"canary 5 %", alerts.Canary, 0.05, 15 * time.Minute},
	{"canary 10 %", alerts.Canary, 0.10, 15 * time.Minute},
	{"canary 50 %", alerts.Canary, 0.50, 15 * time.Minute},
	{"rolling", alerts.Rolling, 1, 2 * time.Hour},
	{"blue-green", alerts.BlueGreen, 1, 5 * time.Minute},
}

// Traffics are the requests a second of the benchmark.
var Traffics = []float64{0.1, 0.5, 2, 20, 200}

const onset = 2 * time.Minute

// Scenarios are the benchmark. Adding one is one line.
var Scenarios = []Scenario{
	{Number: "0", Name: "the same version again", Label: Keep, At: func(*weather, time.Duration, Rollout) {}},
	{Number: "0w", Name: "the same version again, of workers as well", Label: Keep, Workers: true, Note: "as many jobs as requests, that come in batches: the null of queue_rate and queue_failures", At: func(*weather, time.Duration, Rollout) {}},
	{Number: "1", Name: "cold start: 2 % errors, 8 times slower for 75 s", Label: Keep, At: coldStart},
	{Number: "2", Name: "traffic threefold over two hours, with a peak", Label: Keep, At: diurnal},
	{Number: "3", Name: "one instance 4 times slower (a noisy neighbour)", Label: Keep, Cause: alerts.Pod, At: noisyNeighbour},
	{Number: "4a", Name: "the database does not answer for 6 minutes, 5 % errors in both versions", Label: Keep, Cause: alerts.Dependency, At: incident(true)},
	{Number: "4b", Name: "something that no probe sees is ill for 6 minutes, 5 % errors in both versions", Label: Keep, Cause: alerts.Dependency, Only: isCanary, At: incident(false)},
	{Number: "4c", Name: "the same, where no old version serves beside the new one to the end", Label: Report, Cause: alerts.Dependency, Only: isWhole, Note: "once the old version is gone, nothing that is read tells an incident that no probe sees from the version: the thresholds roll it back, but for a rolling rollout with so much traffic that its old pods had shown the same", At: incident(false)},
	{Number: "5", Name: "a tenant's client is broken, before and after", Label: Keep, At: brokenClient},
	{Number: "5b", Name: "the same, and the series tell their tenants", Label: Keep, Parts: &Parts{tenantLabel, brokenTenant}, Note: "the null of tenant_errors, over 40 tenants", At: brokenClient},
	{Number: "6", Name: "the new version gets three times the share of a flaky route", Label: Keep, Cause: alerts.Traffic, Parts: &Parts{routeLabel, routes}, Note: "the series tell their routes, at which rollwatch looks when a gate fires; the other judges know none", At: mixShift},
	{Number: "7a", Name: "every fifth scrape is missed", Label: Hold, At: missedScrapes, Note: "a fifth of the ticks is less than the coverage that a promotion needs"},
	{Number: "7b", Name: "nothing is scraped for 4 minutes, to the end of the watch", Label: Hold, At: sourceDown},
	{Number: "7c", Name: "the series get another name after half the watch", Label: Hold, At: renamed},
	errorStep("8a", 2), errorStep("8b", 3), errorStep("8c", 5), errorStep("8d", 10), errorStep("8e", 50),
	{Number: "9", Name: "errors rise from 0.2 % to 5 % in 20 minutes", Label: Rollback, Onset: onset, At: errorRamp},
	late("10a", 25*time.Minute), late("10b", 70*time.Minute),
	slower("11a", 1.3, Keep, pends), slower("11b", 2, Report, ""), slower("11c", 3.5, Rollback, ""), slower("11d", 6, Rollback, ""),
	tail("12a", 0.005, Keep, pends), tail("12b", 0.02, Rollback, ""), tail("12c", 0.05, Rollback, ""),
	{Number: "13a", Name: "a queue stands still", Label: Rollback, Onset: onset, Probes: true, At: queueStall},
	{Number: "13b", Name: "jobs complete at half the speed", Label: Rollback, Onset: onset, Probes: true, Workers: true, Note: "as many jobs as requests; queue_rate finds it where workers of the old version are beside the new ones, and jobs enough", At: halfSpeed},
	{Number: "13c", Name: "a poison job is tried again and again: half of the jobs fail", Label: Rollback, Onset: onset, Probes: true, Workers: true, Note: "as many jobs as requests; queue_failures finds it where workers of the old version are beside the new ones; alone the number of failed jobs holds", At: poison},
	{Number: "13d", Name: "jobs complete and do nothing", Label: Rollback, Onset: onset, Probes: true, At: violates},
	{Number: "14", Name: "the login of one tenant fails (0.5 % of the traffic)", Label: Rollback, Onset: onset, Probes: true, At: tenantBroken},
	{Number: "14b", Name: "the requests of one tenant fail (0.5 % of the traffic), and no feature is checked", Label: Rollback, Onset: onset, Parts: &Parts{tenantLabel, failedTenant}, Note: "of so small a tenant few requests come: what takes longest is to count them", At: tenantFailed},
	{Number: "15", Name: "rows are written across tenants", Label: Rollback, Onset: onset, Probes: true, At: violates},
	{Number: "16", Name: "one of the new instances restarts again and again", Label: Rollback, Onset: onset, Probes: true, Note: "the one instance is named and the rollout held, since the others serve", At: crashLoop},
	{Number: "17", Name: "an improvement: a fifth of the errors", Label: Keep, At: func(w *weather, t time.Duration, _ Rollout) {
		if t > 0 {
			w.new.errors /= 5
		}
	}},
}

// tellsTenants says whether the series tell tenants: they are read each minute, which
// takes some time.
func (s *Scenario) tellsTenants() bool { return s.Parts != nil && s.Parts.Label == tenantLabel }

// isCanary says whether stable goes on beside the new version, isWhole that it does not.
func isCanary(r Rollout) bool { return r.Strategy == alerts.Canary }
func isWhole(r Rollout) bool  { return !isCanary(r) }

// pends is what a slowness does that is no reason to roll back.
const pends = "it makes canary_latency pend, and a canary held, where there is enough traffic to prove it"

func coldStart(w *weather, t time.Duration, _ Rollout) {
	if between(t, 0, 75*time.Second) {
		w.new.errors, w.new.slower = 0.02, 8
	}
}

// diurnal is the morning of a Monday: three times the traffic within two hours,
// with a peak of half as much again that passes.
func diurnal(w *weather, t time.Duration, _ Rollout) {
	hours := t.Hours()
	fromPeak := (hours - 0.2) / 0.1
	w.load = 1 + min(2, max(0, hours)) + 0.5*math.Exp(-fromPeak*fromPeak)
}

func noisyNeighbour(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.hasOdd, w.odd = true, condition{errors: usualErrors, slower: 4}
	}
}

// incident makes both versions ill for six minutes.
func incident(seen bool) func(*weather, time.Duration, Rollout) {
	return func(w *weather, t time.Duration, _ Rollout) {
		if between(t, 3*time.Minute, 9*time.Minute) {
			w.new = condition{errors: 0.05, slower: 4}
			w.old, w.probes.databaseDown = w.new, seen
		}
	}
}

func brokenClient(w *weather, _ time.Duration, _ Rollout) {
	w.new.errors += 0.005
	w.old.errors += 0.005
}

// One of manyTenants has so small a share of the traffic; the others' are Zipf's.
const (
	manyTenants = 40
	smallTenant = 0.005
)

// tenants are what the requests are made of where so many of the small tenant's fail.
func tenants(fail float64) []class {
	all := make([]class, manyTenants)
	sum := 0.0
	for i := 1; i < manyTenants; i++ {
		all[i] = class{"tenant-" + figure(float64(i)), 1 / float64(i), usualErrors}
		sum += all[i].share
	}
	for i := range all {
		all[i].share *= (1 - smallTenant) / sum
	}
	all[0] = class{"globex", smallTenant, fail}
	return all
}

var wellTenants, illTenants = tenants(usualErrors), tenants(1)

func brokenTenant(time.Duration, bool) []class { return illTenants }

func failedTenant(t time.Duration, isNew bool) []class {
	if isNew && t > onset {
		return illTenants
	}
	return wellTenants
}

func tenantFailed(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.new.errors += smallTenant * (1 - usualErrors)
		w.spoil()
	}
}

// The flaky route of scenario 6: of its requests so many more fail, in either version.
const flakyFails, flakyShare, flakyShifted = 0.03, 0.05, 0.15

func mixShift(w *weather, t time.Duration, _ Rollout) {
	w.old.errors += flakyShare * flakyFails
	if w.new.errors += flakyShare * flakyFails; t > 0 {
		w.new.errors += (flakyShifted - flakyShare) * flakyFails
	}
}

func routes(t time.Duration, isNew bool) []class {
	share := flakyShare
	if isNew && t > 0 {
		share = flakyShifted
	}
	return []class{{"/import", share, usualErrors + flakyFails}, {"/orders", 1 - share, usualErrors}}
}

func missedScrapes(w *weather, t time.Duration, _ Rollout) {
	w.missed = t > 0 && (t/interval)%5 == 0
}

func sourceDown(w *weather, t time.Duration, r Rollout) {
	w.missed = between(t, r.Watch-4*time.Minute, r.Watch)
}

func renamed(w *weather, t time.Duration, r Rollout) { w.noSeries = t > r.Watch/2 }

func errorStep(number string, times float64) Scenario {
	return Scenario{
		Number: number, Name: "errors " + figure(times) + " times the usual 0.2 %", Label: Rollback, Onset: onset,
		At: func(w *weather, t time.Duration, _ Rollout) {
			if t > onset {
				w.new.errors *= times
				w.spoil()
			}
		},
	}
}

func errorRamp(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.new.errors += 0.048 * min(1, (t-onset).Minutes()/20)
		w.spoil()
	}
}

// late is a leak: long after the start 10 % of the requests fail.
func late(number string, after time.Duration) Scenario {
	return Scenario{
		Number: number, Name: "10 % errors from the " + figure(after.Minutes()) + "th minute on", Label: Rollback, Onset: after,
		Note: "after the watch of a canary and of a blue-green: only who watches on can see it",
		At: func(w *weather, t time.Duration, _ Rollout) {
			if t > after {
				w.new.errors = 0.1
				w.spoil()
			}
		},
	}
}

func slower(number string, times float64, label Label, note string) Scenario {
	s := Scenario{
		Number: number, Name: figure(times) + " times slower", Label: label, Note: note,
		At: func(w *weather, t time.Duration, _ Rollout) {
			if t > onset {
				w.new.slower = times
				w.spoil()
			}
		},
	}
	if label != Keep {
		s.Onset = onset
	}
	return s
}

func tail(number string, share float64, label Label, note string) Scenario {
	s := Scenario{
		Number: number, Name: figure(100*share) + " % of the requests take 2 s longer", Label: label, Note: note,
		At: func(w *weather, t time.Duration, _ Rollout) {
			if t > onset {
				w.new.tail = share
				w.spoil()
			}
		},
	}
	if label != Keep {
		s.Onset = onset
	}
	return s
}

func queueStall(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.probes.finishing, w.probes.waiting = 0, usualJobs*(t-onset).Seconds()
		w.harm = 1
	}
}

func halfSpeed(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.probes.speed, w.probes.waiting = 0.5, usualJobs/2*(t-onset).Seconds()
		w.harm = 0.5
	}
}

func poison(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.probes.poison, w.harm = 0.5, 0.5
	}
}

func violates(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.probes.violations = math.Ceil((t - onset).Minutes())
		w.harm = 0.01
	}
}

func tenantBroken(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.probes.broken, w.probes.tries = 1, math.Ceil((t-onset).Minutes()*2)
		w.new.errors += 0.005
		w.spoil()
	}
}

// crashLoop: the instance serves for half a minute and is away for one and a half.
func crashLoop(w *weather, t time.Duration, _ Rollout) {
	if t > onset {
		w.hasOdd, w.odd = true, condition{errors: 0.2, slower: 1}
		w.probes.oddDown = (t-onset)%(2*time.Minute) > 30*time.Second
		w.harm = 0.1
	}
}
