package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// execute runs a command to its end as user (nil: as ourselves); an error
// shows what it printed.
func execute(ctx context.Context, user *syscall.Credential, input string, argv ...string) error {
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Stdin = strings.NewReader(input)
	command.Dir = "/" // ours may be closed to user
	command.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(argv[0]), err, output)
	}
	return nil
}

// Once runs create if path is not there. Of several processes one creates and
// the others wait for it; create has to make path last, as its own proof.
func Once(path string, create func() error) error {
	if exists(path) {
		return nil
	}
	cache, err := CacheFolder()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("cache folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if exists(path) {
		return nil
	}
	return create()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
