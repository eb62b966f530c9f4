package server

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
)

// ErrNotInstalled means that this machine has no such server.
var ErrNotInstalled = errors.New("not installed")

// postgresFolders are where distributions put PostgreSQL's server programs,
// which are often not on PATH.
var postgresFolders = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // Red Hat
	"/usr/local/pgsql/bin",      // from source
	"/opt/homebrew/opt/postgresql@*/bin",
}

// find looks for a program on PATH and then in folders, the newest version first.
func find(program string, folders ...string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	var found []string
	for _, folder := range folders {
		matches, err := filepath.Glob(filepath.Join(folder, program))
		if err != nil {
			return "", fmt.Errorf("find %s: %w", program, err)
		}
		found = append(found, matches...)
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%s: %w", program, ErrNotInstalled)
	}
	return slices.MaxFunc(found, func(a, b string) int {
		return cmp.Or(cmp.Compare(versionIn(a), versionIn(b)), cmp.Compare(a, b))
	}), nil
}

// versionIn is the first number in a path: 15 in /usr/lib/postgresql/15/bin/initdb.
func versionIn(path string) int {
	start := slices.IndexFunc([]byte(path), isDigit)
	if start < 0 {
		return 0
	}
	end := start
	for end < len(path) && isDigit(path[end]) {
		end++
	}
	version, err := strconv.Atoi(path[start:end])
	if err != nil {
		return 0
	}
	return version
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

// CacheFolder is where what is slow to make is kept between runs. The Makefile
// names the same place.
func CacheFolder() (string, error) {
	if base := os.Getenv("XDG_CACHE_HOME"); base != "" {
		return filepath.Join(base, "rollwatch"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	return filepath.Join(home, ".cache", "rollwatch"), nil
}
