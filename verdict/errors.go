package verdict

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
}

// Error is the message.
func (e *Error) Error() string { return e.Message }
