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

// Once makes path if it is not there. The function is given the path to make,
// which is renamed when it is whole; of several processes one makes it and the
// others wait.
func Once(path string, create func(path string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	unfinished := path + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	if err := create(unfinished); err != nil {
		return err
	}
	if err := os.Rename(unfinished, path); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return nil
}
