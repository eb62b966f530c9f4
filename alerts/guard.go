package alerts

import (
	"math"
	"time"
)

// guardNeeded is what n*KL(q, p) must reach: by Chernoff's bound a service that
// is as good as its baseline gets there in one window of 100,000 at most.
var guardNeeded = math.Log(1e5)

// limitNeeded is what n*KL(q, limit) must reach of a gate that proves its limit: a
// service whose requests are bad as often as the limit allows gets there in one
// window of 1,000 at most.
var limitNeeded = math.Log(1e3)

// surely is the highest ratio that is weighed; at 1 the divergence is undefined.
const surely = 1 - 1e-9

// A Ratio is how many of N were bad.
type Ratio struct {
	N, Bad float64
}

// Value is Bad/N, between 0 and 1; 0 when there were none.
func (r Ratio) Value() float64 {
	if r.N <= 0 {
		return 0
	}
	return min(max(r.Bad/r.N, 0), 1)
}

func (r Ratio) add(n, bad float64) Ratio { return Ratio{r.N + n, r.Bad + bad} }

// divergence is the Kullback-Leibler divergence of q from p for Bernoulli
// trials, in nats, where q is above p; else 0.
func divergence(q, p float64) float64 {
	q = min(q, surely)
	if q <= p {
		return 0
	}
	return q*math.Log(q/p) + (1-q)*math.Log((1-q)/(1-p))
}

// guard is the evidence that r is not the baseline's luck, in nats.
func guard(r Ratio, base float64) float64 { return r.N * divergence(r.Value(), base) }

// spansOf says into how many spans a window is divided: the most, of 5 to 2,
// that leave at least two scrapes a span.
func spansOf(window, interval time.Duration) int {
	for k := 5; k > 1; k-- {
		if window/time.Duration(k) >= 2*interval {
			return k
		}
	}
	return 1
}

// leastFavourable is the baseline ratio that a window is weighed against: the
// worse of what the service was and what the control is now, since an incident
// that both suffer is not the version's; and never below what so few requests
// could have shown.
func leastFavourable(frozen, control Ratio, limit float64) float64 {
	n := frozen.N + control.N
	if n < 2 {
		return limit / 2
	}
	return max(frozen.Value(), control.Value(), 1/n)
}

// telling is the control if it says anything: it had enough requests; or of a
// quarter of them more were bad than by luck, since an incident that both suffer
// shows in few requests as well. One error of three requests that an old version
// still drains would else hide a real fault.
func telling(frozen, control Ratio, limit, enough float64) Ratio {
	ill := guard(control, leastFavourable(frozen, Ratio{}, limit))
	if control.N >= enough || control.N >= enough/4 && ill >= suspicion || ill >= guardNeeded {
		return control
	}
	return Ratio{}
}

// proves says whether the window is beyond luck: that of a service as good as its
// baseline; that of the baseline, of which few requests may have shown too little; and
// of a gate that has to prove its limit, that of a service which is at the limit.
func (g Gate) proves(window Ratio, base float64, frozen Ratio) bool {
	var since besides
	if since.add(window, frozen); frozen.N >= 2 && since.evidence() < guardNeeded {
		return false
	}
	return guard(window, base) >= guardNeeded && (!g.ProvesLimit || guard(window, g.Limit) >= limitNeeded)
}

// minDetectable is the smallest ratio to the baseline whose expected evidence
// proves it over n requests and which is over the limit; 0 when none does.
func (g Gate) minDetectable(n, base float64, frozen Ratio) float64 {
	proves := func(share float64) bool { return g.proves(Ratio{N: n, Bad: share * n}, base, frozen) }
	if n == 0 || !proves(surely) {
		return 0
	}
	low, high := base, surely
	for range 60 {
		if mid := (low + high) / 2; proves(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return max(high, g.Limit) / base
}
