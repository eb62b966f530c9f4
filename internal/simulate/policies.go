package simulate

import (
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// A Policy is a judge beside ours, modelled on the same samples.
type Policy struct {
	Family   string
	Name     string
	Swept    string  // the parameter that makes the family's curve, where this is a point of it
	At       float64 // its value
	Control  bool    // it compares with stable, and judges canaries only
	RollsAt  func(*history) time.Duration
	Settings string // that a reader can check
}

// User are the thresholds that the service's owner wrote down: 1 % errors, three
// times the usual p99. The others are given the true p99, which favours them.
const (
	userErrors = 0.01
	userTimes  = 3
)

var userP99 = userTimes * usualP99

// Policies are the judges beside ours. Adding one is one line.
var Policies = []Policy{
	{Family: "Argo Rollouts", Name: "Argo, its documentation's", Settings: "success rate >= 95 % over 5 min each minute, failureLimit 3, NaN not handled", RollsAt: argo{success: 0.95, failureLimit: 3, errorLimit: 4}.rollsAt},
	{Family: "Argo Rollouts", Name: "Argo, the user's, failureLimit 0", Settings: "success rate >= 99 % and p99 <= 3 x usual over 5 min each minute, failureLimit 0, NaN not handled", RollsAt: argo{success: 0.99, p99: userP99, failureLimit: 0, errorLimit: 4}.rollsAt},
	{Family: "Argo Rollouts", Name: "Argo, the user's, failureLimit 3", Settings: "the same, failureLimit 3", RollsAt: argo{success: 0.99, p99: userP99, failureLimit: 3, errorLimit: 4}.rollsAt},
	{Family: "Argo Rollouts", Name: "Argo, the user's, NaN handled", Settings: "the same, failureLimit 3, `isNaN(result) || ...`", RollsAt: argo{success: 0.99, p99: userP99, failureLimit: 3, errorLimit: 4, handled: true}.rollsAt},
	{Family: "Flagger", Name: "Flagger, its documentation's", Settings: "request-success-rate >= 99 %, request-duration <= 500 ms, interval 1m, threshold 5", RollsAt: flagger{success: 0.99, p99: 0.5, threshold: 5}.rollsAt},
	{Family: "Flagger", Name: "Flagger, the user's", Settings: "request-success-rate >= 99 %, request-duration <= 3 x usual p99, interval 1m, threshold 5", RollsAt: flagger{success: 0.99, p99: userP99, threshold: 5}.rollsAt},
	{Family: "Kayenta", Name: "Kayenta, its defaults", Control: true, Settings: "Mann-Whitney, 98 %, tolerance 0.25, each 5 min of 15, pass 95, marginal 75", RollsAt: kayenta{confidence: 0.98, tolerance: 0.25}.rollsAt},
	{Family: "Kayenta", Name: "Kayenta, allowedIncrease 1.5", Control: true, Settings: "the same, and the mean at least 1.5 times the control's", RollsAt: kayenta{confidence: 0.98, tolerance: 0.25, allowed: 1.5}.rollsAt},
	{Family: "burn rate", Name: "burn rate 14.4", Settings: "99.9 % SLO of the whole service, over 1 h and 5 min", RollsAt: burnRate{factor: 14.4}.rollsAt},
	{Family: "plain rule", Name: "plain: ratio over 5 min", Settings: "5xx > 1 % or p99 > 3 x usual over the last 5 min, at any scrape", RollsAt: plain{limit: userErrors, p99: userP99, ticks: 20, lasting: 1}.rollsAt},
	{Family: "plain rule", Name: "plain: each of 5 min", Settings: "the same over 1 min, without a break for 5 min", RollsAt: plain{limit: userErrors, p99: userP99, ticks: 4, lasting: 21}.rollsAt},
	{Family: "plain rule", Name: "plain: `rate[5m]`, `for: 5m`", Settings: "the same over 5 min, without a break for 5 min", RollsAt: plain{limit: userErrors, p99: userP99, ticks: 20, lasting: 21}.rollsAt},
}

// Swept are the points of the curves: each family over its own parameter.
var Swept = sweep()

func sweep() []Policy {
	var all []Policy
	for _, n := range []int{0, 1, 2, 3, 5, 8} {
		all = append(all, Policy{Family: "Argo Rollouts", Swept: "failureLimit", At: float64(n), RollsAt: argo{success: 0.99, p99: userP99, failureLimit: n, errorLimit: 4, handled: true}.rollsAt})
	}
	for _, n := range []int{1, 2, 3, 5, 7, 10} {
		all = append(all, Policy{Family: "Flagger", Swept: "threshold", At: float64(n), RollsAt: flagger{success: 0.99, p99: userP99, threshold: n}.rollsAt})
	}
	for _, c := range []float64{0.8, 0.9, 0.95, 0.98, 0.99, 0.999} {
		all = append(all, Policy{Family: "Kayenta", Swept: "confidence", At: c, Control: true, RollsAt: kayenta{confidence: c, tolerance: 0.25}.rollsAt})
	}
	for _, x := range []float64{1, 3, 6, 14.4, 30} {
		all = append(all, Policy{Family: "burn rate", Swept: "factor", At: x, RollsAt: burnRate{factor: x}.rollsAt})
	}
	for _, x := range []float64{0.003, 0.005, 0.01, 0.02, 0.05, 0.1} {
		all = append(all,
			Policy{Family: "plain: 5 min", Swept: "limit", At: x, RollsAt: plain{limit: x, p99: userP99, ticks: 20, lasting: 1}.rollsAt},
			Policy{Family: "plain: each of 5 min", Swept: "limit", At: x, RollsAt: plain{limit: x, p99: userP99, ticks: 4, lasting: 21}.rollsAt},
		)
	}
	return all
}

// judges says whether a policy is made for a rollout.
func (p Policy) judges(r Rollout) bool { return !p.Control || r.Strategy == alerts.Canary }

// outcome is what the policy makes of a watch.
func (p Policy) outcome(h *history) Outcome {
	out := Outcome{RolledBack: p.RollsAt(h), Late: h.world.late}
	for _, m := range h.world.ticks[:h.watch] {
		if out.RolledBack > 0 && m.at > out.RolledBack {
			break
		}
		out.Harm += m.harm
	}
	if out.RolledBack == 0 {
		out.Promoted = h.world.rollout.Watch
	}
	return out
}

// plain is a threshold on the new version's own series.
type plain struct {
	limit, p99 float64
	ticks      int // of the query's range
	lasting    int // ticks in a row for which it must be over
}

func (p plain) rollsAt(h *history) time.Duration {
	over := 0
	for tick := 1; tick <= h.watch; tick++ {
		r := last(h.new, tick, p.ticks)
		if r.failing() > p.limit || r.p99() > p.p99 {
			over++
		} else {
			over = 0
		}
		if over >= p.lasting {
			return time.Duration(tick) * interval
		}
	}
	return 0
}

// burnRate is the alert on a budget of errors of the whole service.
type burnRate struct{ factor float64 }

// budget is what a service of 99.9 % may fail.
const budget = 0.001

func (b burnRate) rollsAt(h *history) time.Duration {
	var before []reading // of the last so many blocks before the rollout
	before = append(before, reading{})
	for i := range h.world.before {
		before = append(before, before[i].plus(h.world.before[len(h.world.before)-1-i]))
	}
	ratio := func(tick, ticks int) float64 {
		r, old := last(h.new, tick, ticks), last(h.old, tick, ticks)
		errors, requests := r.errors+old.errors, r.requests+old.requests
		if reach := ticks - tick; reach > 0 {
			earlier := before[min(len(before)-1, reach*int(interval)/int(block))]
			errors, requests = errors+earlier.errors, requests+earlier.requests
		}
		if requests == 0 {
			return 0
		}
		return errors / requests
	}
	for tick := 1; tick <= h.watch; tick++ {
		if ratio(tick, 5*minuteTicks) > b.factor*budget && ratio(tick, 60*minuteTicks) > b.factor*budget {
			return time.Duration(tick) * interval
		}
	}
	return 0
}
