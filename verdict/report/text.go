package report

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/common/model"
)

// maxShown bounds how much of one text from outside is shown, in characters.
const maxShown = 400

// visible is text on one line, without what could not be seen or would turn
// the direction of writing, and not too much of it.
func visible(text string) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\n', c == '\t', c == '\r':
			return ' '
		case !unicode.IsPrint(c):
			return '�'
		}
		return c
	}, strings.ToValidUTF8(text, "�"))
	if runes := []rune(text); len(runes) > maxShown {
		text = string(runes[:maxShown]) + "…"
	}
	return text
}

// markup is every character with a meaning in Markdown or HTML, escaped. An
// entity cannot begin anything, wherever in a line it stands.
var markup = func() *strings.Replacer {
	var pairs []string
	for _, c := range "\\`*_{}[]<>()#+!|~&@$=\"'" {
		pairs = append(pairs, string(c), fmt.Sprintf("&#%d;", c))
	}
	// What would become a link by itself.
	return strings.NewReplacer(append(pairs, "://", "&#58;//", "www.", "www&#46;")...)
}()

// quiet are the characters that are markup only where they stand alone in
// running text, and are common in figures: they are left as they are.
var quiet = strings.NewReplacer("&#40;", "(", "&#41;", ")", "&#61;", "=", "&#43;", "+", "&#39;", "'")

// innerUnderscore stands within a word, where it is no markup.
var innerUnderscore = regexp.MustCompile(`([0-9A-Za-z])&#95;([0-9A-Za-z])`)

// plain is text from outside as text of a paragraph or of a cell.
func plain(text string) string {
	return innerUnderscore.ReplaceAllString(quiet.Replace(markup.Replace(visible(text))), "${1}_$2")
}

// code is text from outside as a span of code, in a cell of a table too. A pipe
// would end the cell and a run of backticks the span, so that a text with
// either is shown as plain text.
func code(text string) string {
	text = visible(text)
	if text == "" || strings.ContainsAny(text, "`|\\") {
		return plain(text)
	}
	return "`" + text + "`"
}

func codeOr(text string) string {
	if text == "" {
		return ""
	}
	return code(text)
}

func codes(texts []string) string {
	var all []string
	for _, text := range texts {
		all = append(all, code(text))
	}
	return strings.Join(all, ", ")
}

// pairs are labels as name=value, sorted.
func pairs(labels map[string]string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, name+"="+labels[name])
	}
	return all
}

// fenced is a block of code of a language that no line of the text can end.
func fenced(language, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + language + "\n" + strings.TrimRight(text, "\n") + "\n" + fence
}

// moment is a time for people, to the second, in UTC.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// lasted is a length of time for people, to the second.
func lasted(d time.Duration) string {
	return model.Duration(max(0, d).Truncate(time.Second)).String()
}

// figure is a value in its unit: a ratio in percent, a time in its nearest
// unit, and anything else as it is.
func figure(v float64, unit string) string {
	switch {
	case math.IsNaN(v), math.IsInf(v, 0):
		return "none"
	case unit == "ratio":
		return short(100*v) + " %"
	case unit == "seconds" && v != 0 && math.Abs(v) < 1:
		return short(1000*v) + " ms"
	case unit == "seconds":
		return short(v) + " s"
	case unit == "":
		return short(v)
	}
	return short(v) + " " + unit
}

// short writes a number with four digits, and with none that say nothing.
func short(v float64) string {
	if v == 0 {
		return "0"
	}
	if a := math.Abs(v); a >= 1e6 || a < 1e-4 {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	digits := max(0, 3-int(math.Floor(math.Log10(math.Abs(v)))))
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
