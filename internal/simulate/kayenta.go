package simulate

import (
	"math"
	"slices"
	"time"
)

// kayenta models an automated canary analysis of Kayenta with two metrics of the
// same weight, the share of errors and the p99 of each minute, each of which is bad
// when it rises.
type kayenta struct {
	confidence float64
	tolerance  float64 // of the estimate, that the interval must be beyond
	allowed    float64 // allowedIncrease: what the mean must be times the control's; 0: any
}

const (
	analysisEach = 5 * minuteTicks // interval of the analyses: each sees all so far
	marginal     = 75              // the score under which an analysis ends the canary
	pass         = 95              // and what the last one must reach
)

func (k kayenta) rollsAt(h *history) time.Duration {
	for tick := analysisEach; tick <= h.watch; tick += analysisEach {
		score := k.score(h, tick)
		if score < marginal || tick+analysisEach > h.watch && score < pass {
			return time.Duration(tick) * interval
		}
	}
	return 0
}

// score is that of one analysis: a metric without data does not count, with half of
// the metrics without data it is 0.
func (k kayenta) score(h *history, tick int) float64 {
	var errors, control, slow, slowControl []float64
	for at := minuteTicks; at <= tick; at += minuteTicks {
		canary, stable := last(h.new, at, minuteTicks), last(h.old, at, minuteTicks)
		// For counts of errors the documentation has missing values replaced by 0.
		errors, control = append(errors, orZero(canary.failing())), append(control, orZero(stable.failing()))
		slow, slowControl = present(slow, canary.p99()), present(slowControl, stable.p99())
	}
	passed, data := 0.0, 2.0
	if !k.isHigh(errors, control) {
		passed++
	}
	switch {
	case len(slow) == 0 || len(slowControl) == 0: // of two metrics, half
		return 0
	case !k.isHigh(slow, slowControl):
		passed++
	}
	return 100 * passed / data
}

func orZero(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return x
}

func present(values []float64, x float64) []float64 {
	if math.IsNaN(x) {
		return values
	}
	return append(values, x)
}

// isHigh says whether a metric is classified as High: the confidence interval of
// how much higher the experiment is lies beyond the tolerance.
func (k kayenta) isHigh(experiment, control []float64) bool {
	x, y := slices.Sorted(slices.Values(experiment)), slices.Sorted(slices.Values(control))
	if slices.Equal(x, y) || x[0] == x[len(x)-1] && y[0] == y[len(y)-1] && x[0] == y[0] {
		return false
	}
	test, ok := mannWhitney(x, y, k.confidence)
	if !ok || test.low <= k.tolerance*math.Abs(test.estimate) {
		return false
	}
	return k.allowed == 0 || mean(x) >= k.allowed*mean(y)
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// An interval of the shift between two samples.
type shift struct{ low, high, estimate float64 }

// mannWhitney is the confidence interval of the shift from y to x, both sorted, by
// the rank sum test as Kayenta computes it: asymptotic, with correction for
// continuity and for ties. False where all values are tied, which is an exception
// there.
func mannWhitney(x, y []float64, confidence float64) (shift, bool) {
	lowest, highest := x[0]-y[len(y)-1], x[len(x)-1]-y[0]
	quantile := -normalQuantile((1 - confidence) / 2)
	ok := true
	at := func(zq float64) func(float64) float64 {
		return func(mu float64) float64 {
			z, defined := rankSum(x, y, mu)
			ok = ok && defined
			return z - zq
		}
	}
	root := func(zq float64) float64 {
		f := at(zq)
		switch fLow, fHigh := f(lowest), f(highest); {
		case fLow <= 0:
			return lowest
		case fHigh >= 0:
			return highest
		default:
			return brent(f, lowest, highest)
		}
	}
	s := shift{low: root(quantile), high: root(-quantile), estimate: brent(at(0), lowest, highest)}
	return s, ok
}

// rankSum is the standardised rank sum of x shifted down by mu among y.
func rankSum(x, y []float64, mu float64) (z float64, defined bool) {
	n, m := float64(len(x)), float64(len(y))
	sum, ties := 0.0, 0.0
	for i, j, rank := 0, 0, 0.0; i < len(x) || j < len(y); {
		var value float64
		if j == len(y) || i < len(x) && x[i]-mu <= y[j] {
			value = x[i] - mu
		} else {
			value = y[j]
		}
		ours, theirs := 0.0, 0.0
		for ; i < len(x) && x[i]-mu == value; i++ {
			ours++
		}
		for ; j < len(y) && y[j] == value; j++ {
			theirs++
		}
		t := ours + theirs
		sum += ours * (rank + (t+1)/2)
		ties += t*t*t - t
		rank += t
	}
	d := sum - n*(n+1)/2 - n*m/2
	sigma := math.Sqrt(n * m / 12 * (n + m + 1 - ties/((n+m)*(n+m-1))))
	if sigma == 0 || math.IsNaN(sigma) {
		return 0, false
	}
	switch {
	case d > 0:
		d -= 0.5
	case d < 0:
		d += 0.5
	}
	return d / sigma, true
}

// normalQuantile is the quantile of the standard normal distribution.
func normalQuantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// brent finds a root of f between two points by Brent's method (1973), to the
// tolerance of R's wilcox.test, after which Kayenta's test is made.
func brent(f func(float64) float64, low, high float64) float64 {
	const relative, absolute = 0x1p-52, 0.5e-4
	fLow, fHigh := f(low), f(high)
	a, b, c := low, high, low
	fa, fb, fc := fLow, fHigh, fLow
	step := b - a
	before := step
	for range 1000 {
		if math.Abs(fc) < math.Abs(fb) {
			a, b, c = b, c, b
			fa, fb, fc = fb, fc, fb
		}
		tolerance := 2*relative*math.Abs(b) + absolute
		half := 0.5 * (c - b)
		if math.Abs(half) <= tolerance || fb == 0 {
			return b
		}
		step, before = brentStep(a, b, c, fa, fb, fc, half, tolerance, step, before)
		a, fa = b, fb
		switch {
		case math.Abs(step) > tolerance:
			b += step
		case half > 0:
			b += tolerance
		default:
			b -= tolerance
		}
		if fb = f(b); fb > 0 == (fc > 0) {
			c, fc = a, fa
			step = b - a
			before = step
		}
	}
	return b
}

// brentStep interpolates where that is safe, and halves where it is not.
func brentStep(a, b, c, fa, fb, fc, half, tolerance, step, before float64) (next, last float64) {
	if math.Abs(before) < tolerance || math.Abs(fa) <= math.Abs(fb) {
		return half, half
	}
	var p, q float64
	s := fb / fa
	if a == c {
		p, q = 2*half*s, 1-s
	} else {
		q = fa / fc
		r := fb / fc
		p = s * (2*half*q*(q-r) - (b-a)*(r-1))
		q = (q - 1) * (r - 1) * (s - 1)
	}
	if p > 0 {
		q = -q
	} else {
		p = -p
	}
	if p >= 1.5*half*q-math.Abs(tolerance*q) || p >= math.Abs(0.5*before*q) {
		return half, half
	}
	return p / q, step
}
