package api

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// A token is one line of the tokens file: who holds it, and its SHA-256.
type token struct {
	name string
	hash [sha256.Size]byte
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,64}$`)

// parseTokens reads name:sha256hex lines; blank lines and lines that begin with
// # are passed over. The error numbers the line and does not repeat it: somebody
// may have written the token itself there.
func parseTokens(source io.Reader) ([]token, error) {
	var tokens []token
	lines := bufio.NewScanner(source)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, digest, _ := strings.Cut(line, ":")
		hash, err := hex.DecodeString(strings.TrimSpace(digest))
		if err != nil || len(hash) != sha256.Size || !tokenName.MatchString(name) {
			return nil, fmt.Errorf("line %d is not name:sha256hex, as in deployer:<64 hexadecimal digits of the SHA-256 of the token>", number)
		}
		tokens = append(tokens, token{name, [sha256.Size]byte(hash)})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the lines: %w", err)
	}
	return tokens, nil
}

// A tokensFile is the set of tokens of a file, read again when the file changes.
type tokensFile struct {
	path    string
	log     *zap.Logger
	current atomic.Pointer[tokenSet]
	reading sync.Mutex // held by the one who reads the file; nobody waits for it
}

// A tokenSet is what the file said when it was read last.
type tokenSet struct {
	file   os.FileInfo
	tokens []token
}

func openTokens(path string, log *zap.Logger) (*tokensFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("api.tokens_file: %w", err)
	}
	tokens, err := readTokens(path)
	if err != nil {
		return nil, err
	}
	file := &tokensFile{path: path, log: log}
	file.current.Store(&tokenSet{info, tokens})
	return file, nil
}

// readTokens reads a regular file only: opening a pipe waits for its writer, and
// the requests would wait with it.
func readTokens(path string) ([]token, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("api.tokens_file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("api.tokens_file: %s is not a regular file", path)
	}
	// It may have been swapped since: without blocking, not even then.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("api.tokens_file: %w", err)
	}
	defer file.Close()
	tokens, err := parseTokens(io.LimitReader(file, maxBody))
	if err != nil {
		return nil, fmt.Errorf("api.tokens_file: %s: %w", path, err)
	}
	return tokens, nil
}

// refresh reads the file again if it is not the one that was read. Contents
// that cannot be used change nothing, so that a slip of the pen in the file does
// not lock out a rollback; a file that is gone takes its tokens with it. While
// one caller reads, the others go by what was read before.
func (f *tokensFile) refresh() ([]token, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, fmt.Errorf("api.tokens_file: %w", err)
	}
	if known := f.current.Load(); known.isOf(info) || !f.reading.TryLock() {
		return known.tokens, nil
	}
	defer f.reading.Unlock()
	tokens, err := readTokens(f.path)
	if err != nil {
		f.log.Error("the tokens file is not usable, what it said before stays in force", zap.Error(err))
		tokens = f.current.Load().tokens
	}
	f.current.Store(&tokenSet{info, tokens})
	return tokens, nil
}

// isOf says whether it was read of this very file, unchanged.
func (s *tokenSet) isOf(info os.FileInfo) bool {
	return os.SameFile(info, s.file) && info.ModTime().Equal(s.file.ModTime()) && info.Size() == s.file.Size()
}

var errUnknownToken = errors.New("the token is not known")

// holder returns whose token it is. Every entry is compared, in constant time.
func (f *tokensFile) holder(presented string) (string, error) {
	tokens, err := f.refresh()
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(presented))
	holder := ""
	for _, token := range tokens {
		if subtle.ConstantTimeCompare(hash[:], token.hash[:]) == 1 {
			holder = token.name
		}
	}
	if holder == "" {
		return "", errUnknownToken
	}
	return holder, nil
}
