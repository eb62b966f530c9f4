package probe

import "encoding/json"

// masked is what a Secret shows of itself.
const masked = "<secret>"

// A Secret is text that cannot be printed by accident: every verb of fmt,
// JSON and YAML show a mask. Only Reveal gives it out.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text itself, for the one place that sends it.
func (s Secret) Reveal() string { return s.text }

// Empty says whether there is no text.
func (s Secret) Empty() bool { return s.text == "" }

// String masks the text; it is empty for an empty Secret.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return masked
}

// GoString masks the text under %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText masks the text in YAML and wherever text is wanted.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON masks the text in JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalText takes the text from a configuration.
func (s *Secret) UnmarshalText(b []byte) error {
	s.text = string(b)
	return nil
}
