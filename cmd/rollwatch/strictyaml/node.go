package strictyaml

import (
	"strconv"
	"strings"
)

// Kind is the shape of a Node.
type Kind int

// The kinds of nodes.
const (
	Scalar Kind = iota
	Map
	List
)

// A Node is one value of the document with its place in it.
type Node struct {
	File         string
	Line, Column int
	Path         string // where it stood in the document as written
	Kind         Kind

	Value any    // of a Scalar: nil, bool, int64, uint64, float64 or string
	Text  string // of a Scalar: the text behind Value
	Plain bool   // of a Scalar: written without quotes, so its type follows from its text

	Unset   []string // variables of a Scalar that had no value
	Entries []Entry  // of a Map, in the order of the file
	Items   []*Node  // of a List
}

// An Entry is one key of a Map.
type Entry struct {
	Key          string
	Line, Column int
	Value        *Node
}

// Fault makes a fault at the node's place.
func (n *Node) Fault(problem, cure string) Fault {
	return Fault{File: n.File, Line: n.Line, Column: n.Column, Path: n.Path, Problem: problem, Cure: cure}
}

// Get returns the value of a Map's key, nil if there is none. It is nil on nil,
// so that lookups chain.
func (n *Node) Get(key string) *Node {
	if e := n.entry(key); e != nil {
		return e.Value
	}
	return nil
}

func (n *Node) entry(key string) *Entry {
	if n == nil {
		return nil
	}
	for i := range n.Entries {
		if n.Entries[i].Key == key {
			return &n.Entries[i]
		}
	}
	return nil
}

// Delete removes a Map's key.
func (n *Node) Delete(key string) {
	for i := range n.Entries {
		if n.Entries[i].Key == key {
			n.Entries = append(n.Entries[:i:i], n.Entries[i+1:]...)
			return
		}
	}
}

// Empty says whether the node is missing, null or the empty text.
func (n *Node) Empty() bool {
	return n == nil || n.Kind == Scalar && (n.Value == nil || n.Value == "")
}

// At walks down segments (keys and indexes) and returns the last node that is
// there, and the entry that led to it; whole says whether that was all the way.
func (n *Node) At(segments []string) (last *Node, via *Entry, whole bool) {
	last = n
	for _, s := range segments {
		next, e := last.child(s)
		if next == nil {
			return last, via, false
		}
		last, via = next, e
	}
	return last, via, true
}

func (n *Node) child(segment string) (*Node, *Entry) {
	if n.Kind == List {
		if i, err := strconv.Atoi(segment); err == nil && i >= 0 && i < len(n.Items) {
			return n.Items[i], nil
		}
		return nil, nil
	}
	if e := n.entry(segment); e != nil {
		return e.Value, e
	}
	return nil, nil
}

// FaultAt makes a fault about what a path like $.integrity[0].query leads to,
// at the nearest node that the document has.
func (n *Node) FaultAt(path, problem, cure string) Fault {
	segments := Segments(path)
	last, _, whole := n.At(segments)
	f := last.Fault(problem, cure)
	if !whole {
		f.Path = n.Path
		for _, s := range segments {
			f.Path = join(f.Path, s)
		}
	}
	return f
}

// Segments splits a path like $.integrity[0].query into keys and indexes.
func Segments(path string) []string {
	path = strings.TrimPrefix(strings.TrimPrefix(path, "$"), ".")
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// Any is the node as encoding/json would hold it.
func (n *Node) Any() any {
	switch n.Kind {
	case Scalar:
		return n.Value
	case Map:
		m := make(map[string]any, len(n.Entries))
		for _, e := range n.Entries {
			m[e.Key] = e.Value.Any()
		}
		return m
	case List:
		l := make([]any, len(n.Items))
		for i, item := range n.Items {
			l[i] = item.Any()
		}
		return l
	}
	return nil
}

// join makes the path of a child.
func join(parent, segment string) string {
	if _, err := strconv.Atoi(segment); err == nil {
		return parent + "[" + segment + "]"
	}
	if parent == "" {
		return segment
	}
	return parent + "." + segment
}
