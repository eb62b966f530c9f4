package simulate

import (
	"fmt"
	"math"
	"strings"
)

// A curve is one judge in a picture: its points from the most patient setting to
// the least.
type curve struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// The size of a picture, and of what is around its plot.
const (
	pictureWidth, pictureHeight         = 760, 440
	plotLeft, plotTop                   = 70, 40
	plotWidth, plotHeight               = 430, 330
	leastShare                  float64 = 1e-4 // on the logarithmic scale: what is below is drawn there
)

// colours tell the curves apart, also for those who do not see red from green.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000"}

// picture draws false rollbacks against requests that were spoiled, both on
// logarithmic scales.
func picture(title string, curves []curve) string {
	lowest, highest := math.Inf(1), 1.0
	for _, c := range curves {
		for _, p := range c.points {
			lowest, highest = min(lowest, max(p.y, 1e-3)), max(highest, p.y)
		}
	}
	lowest, highest = math.Pow(10, math.Floor(math.Log10(min(lowest, highest)))), math.Pow(10, math.Ceil(math.Log10(highest*1.001)))
	px := func(x float64) float64 {
		return plotLeft + plotWidth*math.Log(max(x, leastShare)/leastShare)/math.Log(1/leastShare)
	}
	py := func(y float64) float64 {
		return plotTop + plotHeight*(1-math.Log(max(y, lowest)/lowest)/math.Log(highest/lowest))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", pictureWidth, pictureHeight)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="22" font-size="14">%s</text>`+"\n", plotLeft, title)
	for x := leastShare; x < 1.001; x *= 10 {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			px(x), px(x), plotTop, plotTop+plotHeight, px(x), plotTop+plotHeight+18, percent(x))
	}
	for y := lowest; y < highest*1.001; y *= 10 {
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n",
			plotLeft, plotLeft+plotWidth, py(y), py(y), plotLeft-6, py(y)+4, y)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">false rollbacks of healthy rollouts</text>`+"\n", plotLeft+plotWidth/2, plotTop+plotHeight+42)
	fmt.Fprintf(&b, `<text x="16" y="%d" text-anchor="middle" transform="rotate(-90 16 %d)">requests spoiled by a faulty one</text>`+"\n", plotTop+plotHeight/2, plotTop+plotHeight/2)
	for i, c := range curves {
		draw(&b, i, c, px, py)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw adds one curve and its name.
func draw(b *strings.Builder, i int, c curve, px, py func(float64) float64) {
	colour, width := colours[i%len(colours)], 1.5
	var path []string
	for _, p := range c.points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", px(p.x), py(p.y)))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%g" fill="%s"/>`+"\n", px(p.x), py(p.y), 2*width, colour)
	}
	if len(path) > 1 {
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="%g"/>`+"\n", strings.Join(path, " "), colour, width)
	}
	y := plotTop + 12 + 22*i
	fmt.Fprintf(b, `<circle cx="%d" cy="%d" r="4" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", plotLeft+plotWidth+18, y-4, colour, plotLeft+plotWidth+28, y, c.name)
}

// percent writes a share as people do.
func percent(share float64) string { return fmt.Sprintf("%.4g %%", 100*share) }
