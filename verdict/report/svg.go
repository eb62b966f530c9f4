package report

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// A canvas writes SVG. Whatever text is given to it can only become text: names
// of elements and attributes are constants of this package.
type canvas struct{ out strings.Builder }

// escaped is text as XML text or as the value of an attribute.
func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(visible(text))) // a Builder takes everything
	return out.String()
}

// pixel writes a length to a tenth, which no screen shows finer.
func pixel(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// open begins a picture of width x height, which a reader is told what it shows.
func (c *canvas) open(width, height float64, title, description string) {
	fmt.Fprintf(&c.out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]s %[2]s" width="%[1]s" height="%[2]s" role="img">`, pixel(width), pixel(height))
	fmt.Fprintf(&c.out, "<title>%s</title><desc>%s</desc><style>%s</style>", escaped(title), escaped(description), style)
}

func (c *canvas) close() { c.out.WriteString("</svg>\n") }

func (c *canvas) rect(class string, x, y, width, height float64) {
	fmt.Fprintf(&c.out, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`, class, pixel(x), pixel(y), pixel(width), pixel(height))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&c.out, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, pixel(x1), pixel(y1), pixel(x2), pixel(y2))
}

// text writes at a point, which is its start, middle or end.
func (c *canvas) text(class, anchor string, x, y float64, text string) {
	fmt.Fprintf(&c.out, `<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, anchor, pixel(x), pixel(y), escaped(text))
}

// path draws a line through points; a nil point begins a new one.
func (c *canvas) path(class string, points []*[2]float64) {
	var d strings.Builder
	step, alone := "M", 0
	for _, p := range points {
		if p == nil {
			if alone == 1 {
				d.WriteString("h0.1") // a point by itself, as a dot
			}
			step, alone = "M", 0
			continue
		}
		d.WriteString(step + pixel(p[0]) + " " + pixel(p[1]))
		step = "L"
		alone++
	}
	if alone == 1 {
		d.WriteString("h0.1")
	}
	fmt.Fprintf(&c.out, `<path class="%s" d="%s"/>`, class, d.String())
}

// style is readable on light and dark pages: the picture has its own ground.
const style = `text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#57606a}` +
	`.ground{fill:#fff}.title{font-size:14px;font-weight:600;fill:#1f2328}.grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#8c959f;stroke-width:1}` +
	`.watch{fill:#0969da;fill-opacity:.06}.limit{stroke:#cf222e;stroke-width:1.5;stroke-dasharray:6 4}.limitText{fill:#cf222e}` +
	`path{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}` +
	`.s0{stroke:#0969da}.s1{stroke:#8250df}.s2{stroke:#bf8700}.s3{stroke:#1b7c83}.s4{stroke:#bf3989}.s5{stroke:#57606a}` +
	`.mark{stroke:#57606a;stroke-width:1;stroke-dasharray:2 3}` +
	`.rollback{stroke:#cf222e;stroke-width:1.5}.promote{stroke:#1a7f37;stroke-width:1.5}.hold{stroke:#bf8700;stroke-width:1.5}.continue{stroke:#0969da;stroke-width:1.5}` +
	`@media(prefers-color-scheme:dark){text{fill:#9198a1}.ground{fill:#0d1117}.title{fill:#f0f6fc}.grid{stroke:#21262d}.axis{stroke:#6e7681}` +
	`.watch{fill:#58a6ff;fill-opacity:.09}.limit{stroke:#f85149}.limitText{fill:#f85149}` +
	`.s0{stroke:#58a6ff}.s1{stroke:#bc8cff}.s2{stroke:#d29922}.s3{stroke:#39c5cf}.s4{stroke:#f778ba}.s5{stroke:#9198a1}` +
	`.mark{stroke:#9198a1}.rollback{stroke:#f85149}.promote{stroke:#3fb950}.hold{stroke:#d29922}.continue{stroke:#58a6ff}}`
