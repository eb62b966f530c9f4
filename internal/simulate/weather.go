package simulate

import (
	"math"
	"time"
)

// What the service is like while nothing is wrong with it.
const (
	usualErrors = 0.002
	usualMedian = 0.05 // seconds; a log-normal distribution
	spread      = 0.6  // of its logarithm: a p99 of 202 ms
	tailBy      = 2.0  // seconds that a slow request takes longer
)

// edges are the upper bucket edges of prom-client, in seconds.
var edges = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// cells are the buckets, that without an upper edge included.
const cells = 12

// A condition is what one version is like at one time.
type condition struct {
	errors float64 // share of the requests that fail
	slower float64 // times as long as usual
	tail   float64 // share of the requests that take tailBy longer
}

var usual = condition{errors: usualErrors, slower: 1}

// A weather is what everything is like at one time.
type weather struct {
	load     float64   // times the usual traffic
	new, old condition //
	odd      condition // of one instance of the new version, if hasOdd
	hasOdd   bool
	harm     float64 // share of the requests to the new version that its fault spoils

	noSeries bool // the service's own series are gone
	missed   bool // this scrape was not made

	probes probes
}

// probes are what the probes read.
type probes struct {
	databaseDown bool
	violations   float64 // of an invariant
	broken       int     // tenants for whom the feature fails
	tries        float64 // in a row that it failed
	waiting      float64 // jobs
	finishing    float64 // jobs a second
	speed        float64 // times the usual, of the workers of the new version
	poison       float64 // share of their jobs that fail, beyond the usual
	oddDown      bool    // the odd instance does not answer at this scrape
}

func fair() weather {
	return weather{load: 1, new: usual, old: usual, probes: probes{finishing: usualJobs, speed: 1}}
}

// usualJobs are finished a second.
const usualJobs = 2.0

// shares are how requests in a condition fall into the buckets.
func (c condition) shares() (shares [cells]float64) {
	below := 0.0
	for i := range cells {
		upTo := 1.0
		if i < len(edges) {
			upTo = (1-c.tail)*within(edges[i], c.slower) + c.tail*within(edges[i]-tailBy, c.slower)
		}
		shares[i] = max(0, upTo-below)
		below = upTo
	}
	return shares
}

// within is the share of requests that take at most that long.
func within(seconds, slower float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return 0.5 * math.Erfc(-math.Log(seconds/(usualMedian*slower))/(spread*math.Sqrt2))
}

// usualP99 is the 99th percentile of the service while nothing is wrong with it.
var usualP99 = usualMedian * math.Exp(2.3263478740408408*spread)

// slowShare is the share of requests, beyond the usual, that take more than three
// times the usual p99: what a latency fault spoils.
func (c condition) slowShare() float64 {
	limit := 3 * usualP99
	is := (1-c.tail)*within(limit, c.slower) + c.tail*within(limit-tailBy, c.slower)
	return max(0, within(limit, 1)-is)
}

// spoil notes what of the requests to the new version is spoiled by what is wrong
// with it alone.
func (w *weather) spoil() {
	w.harm = max(0, w.new.errors-w.old.errors) + w.new.slowShare()
}

// between says whether a time is in a stretch: after from, up to and with to.
func between(t, from, to time.Duration) bool { return t > from && t <= to }
