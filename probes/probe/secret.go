package probe

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// masked is what a Secret shows of itself.
const masked = "<secret>"

// A Secret is text that cannot be printed by accident: every verb of fmt,
// JSON and YAML show a mask. Only Reveal gives it out.
type Secret struct {
	// A pointer, because fmt calls no methods on the unexported fields of a
	// struct that holds a Secret: it then prints an address, not the text.
	text *string
}

// NewSecret wraps text.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal returns the text itself, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Empty says whether there is no text.
func (s Secret) Empty() bool { return s.text == nil }

// IsZero is Empty under the name that encoders' omitempty and omitzero ask for.
func (s Secret) IsZero() bool { return s.Empty() }

// String masks the text; it is empty for an empty Secret.
func (s Secret) String() string {
	if s.Empty() {
		return ""
	}
	return masked
}

// GoString masks the text under %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText masks the text in JSON, YAML and wherever text is wanted.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text from a configuration.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = NewSecret(string(b))
	return nil
}

// maxSecretFile bounds what is read of a secret's file: a wrong path must not
// load a database dump.
const maxSecretFile = 64 << 10

// OpenRegular opens a file to read. What is no regular file is an error and is
// not opened: to open a pipe waits for a writer, with no deadline.
func OpenRegular(path string) (*os.File, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file (%s)", path, info.Mode().Type())
	}
	return os.Open(path)
}

// ReadSecretFile reads a secret from a file (the `*_file` keys), without the
// line end that editors put behind it. A file that is empty, not regular, not
// text or over 64 KiB is an error: it is not the secret that was meant.
func ReadSecretFile(path string) (Secret, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	if len(b) > maxSecretFile {
		return Secret{}, fmt.Errorf("read secret: %s is larger than %d bytes", path, maxSecretFile)
	}
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return Secret{}, fmt.Errorf("read secret: %s is not text", path)
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return Secret{}, fmt.Errorf("read secret: %s is empty", path)
	}
	return NewSecret(text), nil
}
