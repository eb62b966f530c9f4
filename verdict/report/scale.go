package report

import (
	"math"
	"time"
)

// A scale is the axis of the values.
type scale struct{ from, to, step float64 }

// scaleOf holds every value and the limit, and 0.
func scaleOf(lines []Line, limit *float64) scale {
	low, high := 0.0, 0.0
	hold := func(v float64) { low, high = min(low, max(v, -drawable)), max(high, min(v, drawable)) }
	for _, line := range lines {
		for _, p := range line.Points {
			hold(p.V)
		}
	}
	if limit != nil && !math.IsNaN(*limit) && !math.IsInf(*limit, 0) {
		hold(*limit)
	}
	if !(high-low > 1/drawable) {
		high = low + 1
	}
	step := nice((high - low) / 4)
	return scale{from: math.Floor(low/step) * step, to: math.Ceil(high*1.02/step) * step, step: step}
}

// drawable is the greatest value that the axis goes to, and one by it the least
// length that it has: beyond them its steps cannot be reckoned.
const drawable = 1e300

// nice is the next of 1, 2, 2.5, 5 times a power of ten.
func nice(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if v <= m*power {
			return m * power
		}
	}
	return 10 * power
}

func (s scale) ticks() []float64 {
	var ticks []float64
	for i := range 12 {
		v := s.from + float64(i)*s.step
		if v > s.to+s.step/2 {
			break
		}
		if math.Abs(v) < s.step/1e6 {
			v = 0
		}
		ticks = append(ticks, v)
	}
	return ticks
}

// A timeTick is a time on the axis.
type timeTick struct {
	at    time.Time
	label string
}

// timeTicks are five to ten round times.
func timeTicks(from, to time.Time) []timeTick {
	steps := []time.Duration{
		15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute,
		30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
	}
	step := to.Sub(from) / 8
	for _, s := range steps {
		if s >= step {
			step = s
			break
		}
	}
	form := "15:04"
	switch {
	case step < time.Minute:
		form = "15:04:05"
	case to.Sub(from) > 24*time.Hour:
		form = "Jan 2 15:04"
	}
	var ticks []timeTick
	step = max(step, time.Second)
	for t := from.UTC().Truncate(step); !t.After(to); t = t.Add(step) {
		if !t.Before(from) {
			ticks = append(ticks, timeTick{t, t.Format(form)})
		}
	}
	return ticks
}
