package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

// A Picture is what one gate saw over the time of a rollout, with its limit and
// with what was decided.
type Picture struct {
	Gate     string
	Title    string
	Subtitle string
	Unit     string // of the values and of the limit
	From, To time.Time
	Start    time.Time // of the rollout
	Limit    *float64
	Lines    []Line // nothing is drawn of an empty one
	Marks    []Mark
	Why      string // why there is nothing to draw; empty: the window holds nothing
}

// A Line is one series. Points follow each other in time; where they are
// further apart than usual the line has a gap.
type Line struct {
	Name   string
	Points []Point
}

// A Point is a value at a time.
type Point struct {
	At time.Time
	V  float64
}

// A Mark is something that happened.
type Mark struct {
	At    time.Time
	Label string
	Word  verdict.Word // colours it; empty: none
}

const (
	// maxLines bounds how many series one picture shows; those that reach
	// highest are kept.
	maxLines = 6
	// Steps is into how many steps a picture divides its time at most.
	Steps = 240
)

// NewPicture draws a finding from the series that its query has given.
func NewPicture(h verdict.History, f alerts.Finding, series promql.Matrix, now time.Time) Picture {
	from, to := Span(h, now)
	p := Picture{
		Gate: f.Gate, Title: fmt.Sprintf("%s of %s %s", f.Gate, h.Rollout.Service, h.Rollout.Version), Subtitle: f.Message,
		Unit: f.Unit, From: from, To: to, Start: h.Rollout.StartedAt, Limit: f.Limit, Marks: marksOf(h),
	}
	if f.Query == "" {
		p.Why = "no query draws this gate"
		return p
	}
	p.Lines = linesOf(series)
	return p
}

func linesOf(series promql.Matrix) []Line {
	var lines []Line
	for _, s := range series {
		line := Line{Name: s.Metric.DropReserved(func(name string) bool { return name == model.MetricNameLabel }).String()}
		for _, p := range s.Floats {
			if !math.IsNaN(p.F) && !math.IsInf(p.F, 0) {
				line.Points = append(line.Points, Point{time.UnixMilli(p.T).UTC(), p.F})
			}
		}
		if len(line.Points) > 0 {
			lines = append(lines, line)
		}
	}
	slices.SortFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(b.highest(), a.highest()), cmp.Compare(a.Name, b.Name))
	})
	return lines
}

func (l Line) highest() float64 {
	return slices.MaxFunc(l.Points, func(a, b Point) int { return cmp.Compare(a.V, b.V) }).V
}

// marksOf are the start, the stages, the overrides, the verdicts as they
// changed and the finish.
func marksOf(h verdict.History) []Mark {
	marks := []Mark{{At: h.Rollout.StartedAt, Label: "start"}}
	for _, s := range h.Rollout.Stages {
		label := s.Note
		if s.Weight != nil {
			label = short(*s.Weight) + " %"
		}
		marks = append(marks, Mark{At: s.At, Label: label})
	}
	for _, o := range h.Overrides {
		marks = append(marks, Mark{At: o.At, Label: "override: " + string(o.Verdict), Word: o.Verdict})
	}
	var last verdict.Word
	for _, t := range h.Transitions {
		if word := t.Document.Verdict; word != last {
			last = word
			marks = append(marks, Mark{At: t.At, Label: string(word), Word: word})
		}
	}
	if !h.Rollout.FinishedAt.IsZero() {
		marks = append(marks, Mark{At: h.Rollout.FinishedAt, Label: "finished"})
	}
	slices.SortStableFunc(marks, func(a, b Mark) int { return a.At.Compare(b.At) })
	return marks
}

// Empty says whether there is nothing to draw.
func (p Picture) Empty() bool { return len(p.Lines) == 0 }

// nothing says why there is nothing to draw.
func (p Picture) nothing() string {
	return cmp.Or(p.Why, fmt.Sprintf("the window holds nothing of it from %s to %s (it forgets after window.retention)", moment(p.From), moment(p.To)))
}

// Alt is the picture in one sentence, for who cannot see it.
func (p Picture) Alt() string {
	if p.Empty() {
		return p.Gate + ": " + p.nothing()
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, line := range p.Lines {
		for _, point := range line.Points {
			low, high = min(low, point.V), max(high, point.V)
		}
	}
	text := fmt.Sprintf("%s from %s to %s: between %s and %s", p.Gate, moment(p.From), moment(p.To), figure(low, p.Unit), figure(high, p.Unit))
	if p.Limit != nil {
		text += ", limit " + figure(*p.Limit, p.Unit)
	}
	return text
}

// The places of a picture, in pixels.
const (
	width, height            = 860.0, 320.0
	left, right, top, bottom = 76.0, 18.0, 92.0, 46.0
	letter                   = 6.3 // an average letter of 11 pixels
)

// SVG draws the picture, by itself: nothing is loaded, and nothing runs.
func (p Picture) SVG() []byte {
	var c canvas
	c.open(width, height, p.Title, p.Alt())
	c.rect("ground", 0, 0, width, height)
	c.text("title", "start", left, 22, shortened(p.Title, 110))
	c.text("note", "start", left, 39, shortened(p.Subtitle, 118))
	if p.Empty() {
		c.text("note", "middle", width/2, height/2, shortened(p.nothing(), 130))
		c.close()
		return []byte(c.out.String())
	}
	p.plot(&c)
	c.close()
	return []byte(c.out.String())
}

func shortened(text string, longest int) string {
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest-1]) + "…"
	}
	return text
}

// plot draws axes, limit, lines and marks.
func (p Picture) plot(c *canvas) {
	lines := p.Lines[:min(len(p.Lines), maxLines)]
	values := scaleOf(lines, p.Limit)
	x := func(t time.Time) float64 {
		share := float64(t.Sub(p.From)) / float64(max(1, p.To.Sub(p.From)))
		return left + min(1, max(0, share))*(width-left-right)
	}
	y := func(v float64) float64 {
		v = min(values.to, max(values.from, v))
		return height - bottom - (v-values.from)/(values.to-values.from)*(height-top-bottom)
	}
	c.rect("watch", x(p.Start), top, width-right-x(p.Start), height-top-bottom)
	for _, v := range values.ticks() {
		c.line("grid", left, y(v), width-right, y(v))
		c.text("tick", "end", left-8, y(v)+4, figure(v, p.Unit))
	}
	for _, t := range timeTicks(p.From, p.To) {
		c.line("axis", x(t.at), height-bottom, x(t.at), height-bottom+4)
		c.text("tick", "middle", x(t.at), height-bottom+17, t.label)
	}
	c.line("axis", left, height-bottom, width-right, height-bottom)
	c.text("tick", "end", width-right, height-8, p.From.UTC().Format("2006-01-02")+", UTC")
	if p.Limit != nil {
		c.line("limit", left, y(*p.Limit), width-right, y(*p.Limit))
		c.text("limitText", "start", left+4, y(*p.Limit)-4, "limit "+figure(*p.Limit, p.Unit))
	}
	p.marks(c, x)
	for i, line := range lines {
		c.path(fmt.Sprintf("s%d", i), line.on(x, y, p.gap()))
	}
	p.legend(c, lines)
}

// gap is how far apart two points are that no line joins.
func (p Picture) gap() time.Duration {
	usual := p.To.Sub(p.From)
	for _, line := range p.Lines {
		for i := 1; i < len(line.Points); i++ {
			usual = min(usual, line.Points[i].At.Sub(line.Points[i-1].At))
		}
	}
	return usual * 5 / 2
}

// on places the points; nil is a gap.
func (l Line) on(x func(time.Time) float64, y func(float64) float64, gap time.Duration) []*[2]float64 {
	var out []*[2]float64
	for i, point := range l.Points {
		if i > 0 && point.At.Sub(l.Points[i-1].At) > gap {
			out = append(out, nil)
		}
		out = append(out, &[2]float64{x(point.At), y(point.V)})
	}
	return out
}

// marks draws what happened, its labels in rows so that none hides another.
func (p Picture) marks(c *canvas, x func(time.Time) float64) {
	const rows, rowHeight, first = 3, 13.0, 55.0
	var ends [rows]float64
	for _, m := range p.Marks {
		if m.At.Before(p.From) || m.At.After(p.To) {
			continue
		}
		class := "mark"
		if slices.Contains(verdict.Words, m.Word) {
			class = "mark " + string(m.Word)
		}
		at, label := x(m.At), shortened(m.Label, 28)
		c.line(class, at, top-4, at, height-bottom)
		long := letter*float64(len([]rune(label))) + 6
		begin := min(at+2, width-right-long)
		for row := range ends {
			if begin >= ends[row] {
				ends[row] = begin + long
				c.text("note", "start", begin, first+float64(row)*rowHeight, label)
				break
			}
		}
	}
}

// legend names the lines where there are several.
func (p Picture) legend(c *canvas, lines []Line) {
	if len(lines) < 2 {
		return
	}
	at := left
	for i, line := range lines {
		name := shortened(line.Name, 34)
		if i == len(lines)-1 && len(p.Lines) > len(lines) {
			name += fmt.Sprintf(" (%d more are not drawn)", len(p.Lines)-len(lines))
		}
		long := letter*float64(len([]rune(name))) + 30
		if at+long > width-right-100 {
			return
		}
		c.path(fmt.Sprintf("s%d", i), []*[2]float64{{at, height - 12}, {at + 14, height - 12}})
		c.text("note", "start", at+18, height-8, name)
		at += long
	}
}
