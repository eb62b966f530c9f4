package collector

import "time"

// A Delta is what one series counted between two scrapes: a raw difference,
// never an extrapolation. Begin is the earlier scrape (or the birth), At the
// later one; the difference belongs to the tick At.
type Delta struct {
	Begin, At time.Time
	N         float64
}
