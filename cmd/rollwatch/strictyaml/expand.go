package strictyaml

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// variable is what may stand between ${ and }: a name, and a default behind :-.
var variable = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(?::-([^$]*))?$`)

// Expand replaces ${VAR} and ${VAR:-default} inside the scalars of the tree;
// $${ becomes a literal ${. What lookup does not have, or has as empty, is
// empty or the default. A plain scalar takes the type of what it becomes, so
// that ${LIMIT} is a number when LIMIT is 100. Keys and structure never change.
func (n *Node) Expand(lookup func(string) (string, bool)) Faults {
	var faults Faults
	for _, e := range n.Entries {
		faults = append(faults, e.Value.Expand(lookup)...)
	}
	for _, item := range n.Items {
		faults = append(faults, item.Expand(lookup)...)
	}
	if n.Kind != Scalar || !strings.Contains(n.Text, "${") {
		return faults
	}
	text, err := n.expanded(lookup)
	if err != nil {
		return append(faults, n.Fault(err.Error(), "write ${VAR}, ${VAR:-default}, or $${ for a literal ${"))
	}
	n.Text, n.Value = text, any(text)
	if n.Plain {
		n.Value = retyped(text)
	}
	return faults
}

// expanded replaces the variables of one scalar and remembers those without a value.
func (n *Node) expanded(lookup func(string) (string, bool)) (string, error) {
	var out strings.Builder
	rest := n.Text
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			out.WriteString(rest)
			return out.String(), nil
		}
		if literal, escaped := strings.CutSuffix(before, "$"); escaped {
			out.WriteString(literal + "${")
			rest = after
			continue
		}
		inside, behind, closed := strings.Cut(after, "}")
		if !closed {
			return "", fmt.Errorf("${%s has no closing brace", inside)
		}
		parts := variable.FindStringSubmatch(inside)
		if parts == nil {
			return "", fmt.Errorf("${%s} is not a variable", inside)
		}
		value, _ := lookup(parts[1])
		if value == "" {
			value = parts[2]
		}
		if value == "" {
			n.Unset = append(n.Unset, parts[1])
		}
		out.WriteString(before + value)
		rest = behind
	}
}

// retyped is what plain text means as YAML: nothing, a truth, a number or text.
func retyped(text string) any {
	if text == "" {
		return nil
	}
	tk := token.New(text, text, &token.Position{})
	var n ast.Node
	switch tk.Type {
	case token.NullType:
		n = ast.Null(tk)
	case token.BoolType:
		n = ast.Bool(tk)
	case token.IntegerType, token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType:
		n = ast.Integer(tk)
	case token.FloatType:
		n = ast.Float(tk)
	default:
		return text
	}
	value, ok := typed(n)
	if !ok {
		return text
	}
	return value
}
