package probe

import "slices"

// A Distribution is what has been observed since the counting began.
type Distribution struct {
	Count  uint64
	Sum    float64 // in the metric's unit
	Points []Point // ascending by At
}

// A Point of a Distribution. Of a Histogram, Value observations were at most At
// (+Inf is left out: it is Count). Of a Summary, Value is the quantile At,
// between 0 and 1.
type Point struct{ At, Value float64 }

// NewHistogram makes an empty Distribution of a Histogram with these upper
// bounds, which ascend.
func NewHistogram(bounds ...float64) Distribution {
	d := Distribution{Points: make([]Point, len(bounds))}
	for i, bound := range bounds {
		d.Points[i].At = bound
	}
	return d
}

// Observe counts one value into a Histogram.
func (d *Distribution) Observe(value float64) {
	d.Count++
	d.Sum += value
	for i := len(d.Points) - 1; i >= 0 && value <= d.Points[i].At; i-- {
		d.Points[i].Value++
	}
}

// Clone copies the Distribution, so that a Reading keeps what it was while the
// counting goes on.
func (d *Distribution) Clone() Distribution {
	c := *d
	c.Points = slices.Clone(d.Points)
	return c
}
