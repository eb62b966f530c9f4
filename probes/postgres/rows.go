package postgres

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// rows are the rows of one view, each a JSON object whose fields stand in the
// order of the view's columns: their names mean nothing, and may be there twice.
type rows struct {
	all     []string
	current []json.RawMessage
	at      int
	err     error
}

// Next goes to the next row; false when there is none, or one that is no row.
func (r *rows) Next() bool {
	if r.at >= len(r.all) || r.err != nil {
		return false
	}
	r.current, r.err = fieldsOf(r.all[r.at], r.current[:0])
	r.at++
	return r.err == nil
}

// fieldsOf takes a JSON object of plain values apart, as the server writes it.
// A decoder of any JSON costs more than the reading itself.
func fieldsOf(text string, into []json.RawMessage) ([]json.RawMessage, error) {
	rest, ok := strings.CutPrefix(text, "{")
	if !ok {
		return nil, errNoObject
	}
	for !strings.HasPrefix(rest, "}") {
		name := plainValue(rest)
		rest, ok = strings.CutPrefix(rest[len(name):], ":")
		if name == "" || !ok {
			return nil, errNoObject
		}
		value := plainValue(rest)
		if value == "" {
			return nil, errNoObject
		}
		into = append(into, json.RawMessage(value))
		rest = rest[len(value):]
		if more, ok := strings.CutPrefix(rest, ","); ok {
			rest = more
		} else if !strings.HasPrefix(rest, "}") {
			return nil, errNoObject
		}
	}
	return into, nil
}

var errNoObject = errors.New("a row that is no JSON object of plain values")

// plainValue is the string, or number or word, that a text begins with.
func plainValue(text string) string {
	if !strings.HasPrefix(text, `"`) {
		return text[:max(0, strings.IndexAny(text, ",:}"))]
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return text[:i+1]
		}
	}
	return ""
}

// scan reads the row that rows stands on. A pointer to a pointer takes NULL.
func scan(r *rows, into ...any) error {
	if len(into) != len(r.current) {
		return fmt.Errorf("scan: %d columns, not %d", len(r.current), len(into))
	}
	for i, target := range into {
		if err := take(r.current[i], target); err != nil {
			return fmt.Errorf("scan: column %d: %w", i+1, err)
		}
	}
	return nil
}

// take reads one value.
func take(raw json.RawMessage, target any) error {
	null := string(raw) == "null"
	switch target := target.(type) {
	case **string:
		return optional(raw, null, target, text)
	case **float64:
		return optional(raw, null, target, float)
	case **bool:
		return optional(raw, null, target, boolean)
	}
	if null {
		return errors.New("is NULL")
	}
	var err error
	switch target := target.(type) {
	case *string:
		*target, err = text(raw)
	case *float64:
		*target, err = float(raw)
	case *bool:
		*target, err = boolean(raw)
	default:
		err = fmt.Errorf("cannot be read into a %T", target)
	}
	return err
}

func optional[T any](raw json.RawMessage, null bool, target **T, read func(json.RawMessage) (T, error)) error {
	*target = nil
	if null {
		return nil
	}
	value, err := read(raw)
	if err == nil {
		*target = &value
	}
	return err
}

func text(raw json.RawMessage) (s string, err error) {
	err = json.Unmarshal(raw, &s)
	return s, err
}

func boolean(raw json.RawMessage) (b bool, err error) {
	err = json.Unmarshal(raw, &b)
	return b, err
}

// float reads a number; PostgreSQL writes NaN and infinities as strings.
func float(raw json.RawMessage) (float64, error) {
	return strconv.ParseFloat(string(bytes.Trim(raw, `"`)), 64)
}

// scanOne reads the one row of a view that always has one.
func scanOne(r *rows, into ...any) error {
	if !r.Next() {
		return errNoRow
	}
	return scan(r, into...)
}

var errNoRow = errors.New("the server returned no row")
