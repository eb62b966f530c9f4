package simulate

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
)

// poisson draws numbers with one mean. What depends on the mean alone is worked
// out once.
type poisson struct {
	mean                    float64
	zero                    float64 // probability of none, for small means
	slope, low, squeeze, in float64 // of the rejection, for large ones
	log                     float64
}

// rejects is the mean from which on numbers are drawn by rejection: walking
// through the distribution takes as many steps as its mean.
const rejects = 10

func poissonOf(mean float64) poisson {
	p := poisson{mean: mean}
	if mean < rejects {
		p.zero = math.Exp(-mean)
		return p
	}
	// Hörmann's transformed rejection with squeeze (1993).
	p.slope = 0.931 + 2.53*math.Sqrt(mean)
	p.low = -0.059 + 0.02483*p.slope
	p.in = 1.1239 + 1.1328/(p.slope-3.4)
	p.squeeze = 0.9277 - 3.6224/(p.slope-2)
	p.log = math.Log(mean)
	return p
}

func (p *poisson) draw(random *rand.Rand) float64 {
	if p.mean < rejects {
		u, term, n := random.Float64(), p.zero, 0.0
		for u > term && n < 100 {
			u -= term
			n++
			term *= p.mean / n
		}
		return n
	}
	for {
		u, v := random.Float64()-0.5, random.Float64()
		us := 0.5 - math.Abs(u)
		n := math.Floor((2*p.low/us+p.slope)*u + p.mean + 0.43)
		if us >= 0.07 && v <= p.squeeze {
			return n
		}
		if n < 0 || us < 0.013 && v > us {
			continue
		}
		gamma, _ := math.Lgamma(n + 1)
		if math.Log(v)+math.Log(p.in)-math.Log(p.low/(us*us)+p.slope) <= n*p.log-p.mean-gamma {
			return n
		}
	}
}

// binomial draws how many of n are hit. It decides nothing but how an arm's
// requests fall on its instances, so that the normal distribution is good enough
// for many.
func binomial(random *rand.Rand, n, share float64) float64 {
	if n > 60 {
		return min(n, max(0, math.Round(n*share+random.NormFloat64()*math.Sqrt(n*share*(1-share)))))
	}
	hits := 0.0
	for range int(n) {
		if random.Float64() < share {
			hits++
		}
	}
	return hits
}

// Seeds are which random numbers are drawn. Those with which something was tuned
// are not those with which it is shown.
type Seeds string

// The seeds.
const (
	Dev       Seeds = "dev"
	Published Seeds = "published"
)

// drawing is how often seeds were drawn anew: whenever a gate was changed after
// somebody had seen the published page.
const drawing = "3"

// source makes the random numbers of one run of a cell: they depend on nothing else.
func (s Seeds) source(cell string, run int) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(string(s) + drawing + "/" + cell))
	return rand.New(rand.NewPCG(h.Sum64(), uint64(run)))
}
