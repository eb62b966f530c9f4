package api

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"github.com/getkin/kin-openapi/openapi3"

	"github.com/rollwatch/rollwatch/verdict"
)

// Contract is the OpenAPI file of the API, as it is served.
//
//go:embed openapi.yaml
var Contract []byte

// loadContract reads the embedded OpenAPI file, once. Bodies are checked against
// it at run time, so what the file says of a request cannot be untrue.
var loadContract = sync.OnceValues(func() (*openapi3.T, error) {
	contract, err := openapi3.NewLoader().LoadFromData(Contract)
	if err != nil {
		return nil, fmt.Errorf("read the embedded openapi.yaml: %w", err)
	}
	return contract, nil
})

// decode reads the one JSON value of a request's body into dst. It must fit
// the named schema of the contract: an unknown field, a wrong type, a value out
// of bounds is refused by the dotted path of the field.
func (h *Handler) decode(r *http.Request, schema string, dst any) error {
	if err := checkMediaType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return refuseRead(err)
	}
	if err := h.checkBody(body, schema); err != nil {
		return err
	}
	if err := json.Unmarshal(body, dst); err != nil {
		return &verdict.Error{Code: verdict.Invalid, Message: "body: " + err.Error()}
	}
	return nil
}

func checkMediaType(header string) error {
	media, _, err := mime.ParseMediaType(header)
	if err == nil && (media == "application/json" || strings.HasSuffix(media, "+json")) {
		return nil
	}
	return &verdict.Error{
		Code:    verdict.Invalid,
		Message: fmt.Sprintf("content type is %q; send the header Content-Type: application/json", header),
		Field:   "Content-Type",
	}
}

// refuseRead says why a body could not be read to its end.
func refuseRead(err error) error {
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &verdict.Error{Code: verdict.TooLarge, Message: fmt.Sprintf("body is larger than %d bytes", tooLong.Limit)}
	}
	return &verdict.Error{Code: verdict.Invalid, Message: "body: it broke off: " + err.Error()}
}

func (h *Handler) checkBody(body []byte, schema string) error {
	if !utf8.Valid(body) { // decoding would put other characters in its place
		return &verdict.Error{Code: verdict.Invalid, Message: "body is not UTF-8 text"}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); errors.Is(err, io.EOF) {
		return &verdict.Error{Code: verdict.Invalid, Message: "body is empty; send a JSON object"}
	} else if err != nil {
		return &verdict.Error{Code: verdict.Invalid, Message: fmt.Sprintf("body is not JSON, at byte %d: %v", decoder.InputOffset(), err)}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &verdict.Error{Code: verdict.Invalid, Message: fmt.Sprintf("body has more after its JSON value, at byte %d", decoder.InputOffset())}
	}
	return refuseSchema(h.contract.Components.Schemas[schema].Value.VisitJSON(value, openapi3.EnableFormatValidation(), dateTime))
}

// dateTime takes exactly the times that decoding will take.
var dateTime = openapi3.WithStringFormatValidator("date-time", openapi3.NewCallbackValidator(func(text string) error {
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return errors.New("it is not a time as in 2026-11-23T04:12:00Z")
	}
	return nil
}))

// refuseSchema turns a violation of the contract into an Error that names the field.
func refuseSchema(err error) error {
	if err == nil {
		return nil
	}
	violation, ok := errors.AsType[*openapi3.SchemaError](err)
	if !ok {
		return &verdict.Error{Code: verdict.Invalid, Message: "body: " + err.Error()}
	}
	path, message := violation.JSONPointer(), violation.Reason
	switch violation.SchemaField {
	case "properties": // the library names the object, not the field in it
		path, message = unknownField(path, violation)
	case "required":
		message = "is missing"
	}
	field := fieldOf(path)
	return &verdict.Error{Code: verdict.Invalid, Message: cmp.Or(field, "body") + ": " + message, Field: field}
}

// fieldOf writes a path as migrations[0].kind.
func fieldOf(path []string) string {
	var field strings.Builder
	for _, step := range path {
		if _, err := strconv.Atoi(step); err == nil {
			step = "[" + step + "]"
		} else if field.Len() > 0 {
			step = "." + step
		}
		field.WriteString(step)
	}
	return field.String()
}

func unknownField(path []string, violation *openapi3.SchemaError) ([]string, string) {
	object, _ := violation.Value.(map[string]any)
	known := slices.Sorted(maps.Keys(violation.Schema.Properties))
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if slices.Contains(known, name) {
			continue
		}
		nearest := slices.MinFunc(known, func(a, b string) int {
			return cmp.Compare(levenshtein.ComputeDistance(a, name), levenshtein.ComputeDistance(b, name))
		})
		return append(path, name), fmt.Sprintf("there is no such field; did you mean %s?", nearest)
	}
	return path, violation.Reason
}
