// Package strictyaml reads one YAML document so that everything that is wrong
// with it is said at once, each fault with its line and a cure: it parses into
// a tree that keeps positions, expands variables inside scalars, checks the
// tree against a JSON Schema and only then decodes into Go.
//
// It knows nothing of what the document means.
package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Fault is one thing wrong with a document.
type Fault struct {
	File         string
	Line, Column int    // from 1; 0 when the fault has no place in the file
	Path         string // as services[0].metrics; empty for the whole document
	Problem      string
	Cure         string // what to do about it, if that is known
}

// String is the fault on one line: file:line:column: path: problem; cure.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Column)
	}
	b.WriteString(": ")
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Problem)
	if f.Cure != "" {
		b.WriteString("; " + f.Cure)
	}
	return b.String()
}

// Faults are all faults of a document.
type Faults []Fault

// maxShown bounds what String prints: the thousandth fault of a file that is no
// configuration at all helps nobody.
const maxShown = 50

// String lists the faults, one on a line.
func (fs Faults) String() string {
	lines := make([]string, 0, min(len(fs), maxShown)+1)
	for _, f := range fs[:min(len(fs), maxShown)] {
		lines = append(lines, f.String())
	}
	if more := len(fs) - maxShown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// Sorted returns the faults in the order of the file, each once.
func (fs Faults) Sorted() Faults {
	out := slices.Clone(fs)
	slices.SortStableFunc(out, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Path, b.Path))
	})
	return slices.Compact(out)
}
