package verdict

import (
	"fmt"
	"time"
)

// A Code says what kind of refusal an Error is; the API maps it to a status.
type Code string

// The codes.
const (
	Invalid      Code = "invalid"
	NotFound     Code = "not_found"
	Conflict     Code = "conflict"
	Unauthorized Code = "unauthorized"
	TooLarge     Code = "too_large"
	Unavailable  Code = "unavailable"
	Internal     Code = "internal"
)

// An Error is a refusal that its reader can act on. Any other error is
// Internal to whoever asked.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"` // which field of the request, if one is to blame

	RetryAfter time.Duration `json:"-"` // when to ask again, for Unavailable
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// invalid refuses a request for one of its fields.
func invalid(field, format string, args ...any) *Error {
	return &Error{Code: Invalid, Field: field, Message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *Error {
	return &Error{Code: NotFound, Message: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) *Error {
	return &Error{Code: Conflict, Message: fmt.Sprintf(format, args...)}
}
