package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxSize is the largest document that is read, in bytes: a configuration is
// kilobytes, and whatever is larger is the wrong file.
const MaxSize = 1 << 20

// maxNesting bounds the brackets and dashes that may be open on one line: the
// parser recurses once for each, and a stack that overflows cannot be recovered.
const maxNesting = 64

// maxTokens bounds the keys, values and marks of a document: some hundred
// services have a tenth of it, and what is done with each adds up.
const maxTokens = 50_000

// Parse reads a document that must be one mapping. Anchors, aliases, tags and
// merge keys are refused: a configuration is read by people, and an alias is
// how a small file becomes a large one.
func Parse(file string, src []byte) (root *Node, faults Faults) {
	whole := Fault{File: file}
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	if problem := unreadable(src, &whole); problem != "" {
		whole.Problem = problem
		return nil, Faults{whole}
	}
	// The parser is fed by whoever can write the file; a panic of its own must
	// not take a running daemon down that was asked to reload.
	defer func() {
		if r := recover(); r != nil {
			whole.Problem = fmt.Sprintf("cannot be read as YAML: %v", r)
			root, faults = nil, Faults{whole}
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if tk := tooDeep(tokens); tk != nil {
		return nil, Faults{at(file, tk, "nested too deeply", "")}
	}
	if len(tokens) > maxTokens {
		whole.Problem = "has more keys and values than any configuration"
		return nil, Faults{whole}
	}
	doc, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Faults{syntaxFault(file, src, err)}
	}
	body, fault := onlyBody(file, doc)
	if fault != nil {
		return nil, Faults{*fault}
	}
	b := builder{file: file}
	root = b.node(body, "")
	if root.Kind != Map {
		b.faults = append(b.faults, root.Fault("is not a mapping of keys to values", "the file begins with a key, as interval: 15s"))
	}
	return root, b.faults
}

// unreadable says why src is no text that could be parsed, and sets the place.
func unreadable(src []byte, f *Fault) string {
	switch {
	case len(src) > MaxSize:
		return fmt.Sprintf("is %d bytes long, more than the %d a configuration may have", len(src), MaxSize)
	case len(bytes.TrimSpace(src)) == 0:
		return "is empty"
	}
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f {
			before := src[:i]
			f.Line = 1 + bytes.Count(before, []byte("\n"))
			f.Column = i - bytes.LastIndexByte(before, '\n')
			return fmt.Sprintf("is not UTF-8 text: byte 0x%02x", src[i])
		}
		i += size
	}
	return ""
}

// tooDeep returns the token that opens more than maxNesting levels.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, dashes, line := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, dashes = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType, token.TagType:
			dashes++
		}
		// Flow collections on one line open many values, but none inside another.
		if flow > maxNesting || flow <= 0 && dashes > maxNesting {
			return tk
		}
	}
	return nil
}

func at(file string, tk *token.Token, problem, cure string) Fault {
	f := Fault{File: file, Problem: problem, Cure: cure}
	if tk != nil && tk.Position != nil {
		f.Line, f.Column = tk.Position.Line, tk.Position.Column
	}
	return f
}

// syntaxFault tells what the parser refused, with the cures for the two
// mistakes that its own words do not explain.
func syntaxFault(file string, src []byte, err error) Fault {
	var syntax *yaml.SyntaxError
	if !errors.As(err, &syntax) {
		return Fault{File: file, Problem: "cannot be read as YAML: " + err.Error()}
	}
	f := at(file, syntax.Token, syntax.Message, "")
	lines := strings.Split(string(src), "\n")
	if f.Line < 1 || f.Line > len(lines) {
		return f
	}
	line := lines[f.Line-1]
	switch {
	case strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t"):
		f.Cure = "indent with spaces, not with tabs"
	case strings.Contains(line, "${") && strings.ContainsAny(line, "[{"):
		f.Cure = `inside { } and [ ] quote a variable, as "${VAR}"`
	}
	return f
}

// onlyBody returns the one document of a file.
func onlyBody(file string, doc *ast.File) (ast.Node, *Fault) {
	var bodies []ast.Node
	for _, d := range doc.Docs {
		switch d.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.DirectiveNode:
		default:
			bodies = append(bodies, d.Body)
		}
	}
	switch len(bodies) {
	case 0:
		return nil, &Fault{File: file, Problem: "is empty but for comments"}
	case 1:
		return bodies[0], nil
	}
	f := at(file, bodies[1].GetToken(), "begins a second document", "keep everything in one, without ---")
	return nil, &f
}

// A builder turns the parser's tree into Nodes.
type builder struct {
	file   string
	faults Faults
}

func (b *builder) refuse(n ast.Node, path, problem, cure string) {
	f := at(b.file, n.GetToken(), problem, cure)
	f.Path = path
	b.faults = append(b.faults, f)
}

func (b *builder) node(n ast.Node, path string) *Node {
	out := &Node{File: b.file, Path: path}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		out.Line, out.Column = tk.Position.Line, tk.Position.Column
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		b.mapping(out, n)
	case *ast.MappingValueNode:
		b.mapping(out, ast.Mapping(n.Start, false, n))
	case *ast.SequenceNode:
		out.Kind = List
		for i, v := range n.Values {
			out.Items = append(out.Items, b.node(v, join(path, strconv.Itoa(i))))
		}
	case *ast.AnchorNode:
		b.refuse(n, path, "anchors and aliases are not read", "write the value out")
	case *ast.AliasNode:
		b.refuse(n, path, "anchors and aliases are not read", "write the value out")
	case *ast.TagNode:
		b.refuse(n, path, "tags are not read", "leave "+n.GetToken().Value+" out")
	default:
		b.scalar(out, n)
	}
	return out
}

func (b *builder) mapping(out *Node, n *ast.MappingNode) {
	out.Kind = Map
	lines := make(map[string]int, len(n.Values))
	for i, v := range n.Values {
		tk := v.Key.GetToken()
		switch v.Key.(type) {
		case *ast.MergeKeyNode, *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
			b.refuse(v.Key, out.Path, "anchors, merge keys and tags are not read", "write the keys out")
			continue
		case *ast.MappingKeyNode:
			b.refuse(v.Key, out.Path, "a key must be plain text", "")
			continue
		}
		if i == 0 && !n.IsFlowStyle {
			out.Line, out.Column = tk.Position.Line, tk.Position.Column
		}
		path := tk.Value
		if out.Path != "" {
			path = out.Path + "." + tk.Value
		}
		if first, twice := lines[tk.Value]; twice {
			b.refuse(v.Key, path, fmt.Sprintf("stands twice, first on line %d", first), "keep one")
			continue
		}
		lines[tk.Value] = tk.Position.Line
		out.Entries = append(out.Entries, Entry{tk.Value, tk.Position.Line, tk.Position.Column, b.node(v.Value, path)})
	}
}

func (b *builder) scalar(out *Node, n ast.Node) {
	switch n := n.(type) {
	case *ast.LiteralNode: // a block: | or >
		out.Text = n.Value.Value
		out.Value = out.Text
	case *ast.StringNode:
		out.Text, out.Value = n.Value, n.Value
		out.Plain = n.Token.Type != token.SingleQuoteType && n.Token.Type != token.DoubleQuoteType
	default:
		tk := n.GetToken()
		out.Text, out.Plain = tk.Value, true
		value, ok := typed(n)
		if !ok {
			b.refuse(n, out.Path, fmt.Sprintf("%q is not a value that can be read", tk.Value), "")
		}
		out.Value = value
	}
}

// typed is the value of a scalar that is not text.
func typed(n ast.Node) (value any, ok bool) {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.IntegerNode:
		return n.Value, true
	case *ast.FloatNode:
		return n.Value, true
	}
	return nil, false // infinities, not-a-numbers and what the parser may invent
}
