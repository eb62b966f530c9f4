package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// keeperScript starts a server and outlives us to end it. It blocks on a pipe
// whose other end only we hold: when we die, however we die, the kernel closes
// that end, the keeper reads the end of file, ends the server and removes its
// folder. It is the server's parent, so the server's process id cannot be
// given to another process before the keeper has waited for it.
//
// File descriptor 3 is the server's lifeline: the keeper writes the process id
// to it and closes it; the server and its children inherit it, and we read the
// end of file when the last of them is gone.
const keeperScript = `
folder=$1 signal=$2
shift 2
"$@" </dev/null &
server=$!
echo "$server" >&3
exec 3>&-
read -r order || order=purge
kill -CONT "$server" $(cat "/proc/$server/task/$server/children")
kill -"$signal" "$server"
wait "$server"
[ "$order" = purge ] && rm -rf "$folder"
exit 0
`

// A keeper is one run of a server, held by a shell that ends it when we die.
type keeper struct {
	shell *exec.Cmd
	leash io.WriteCloser // closing it ends the server
	pid   int            // of the server
	gone  chan struct{}  // closed when the server and all its children are gone
}

// keep runs argv as user (nil: as ourselves), with its output in log. The
// signal is what ends it at once and without asking: SIGKILL for most.
func keep(argv []string, folder string, log *os.File, user *syscall.Credential, signal syscall.Signal) (*keeper, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("keeper: %w", err)
	}
	defer write.Close()
	args := append([]string{"-c", keeperScript, "keeper", folder, strconv.Itoa(int(signal))}, argv...)
	shell := exec.Command("/bin/sh", args...)
	shell.Dir = folder
	shell.Stdout, shell.Stderr = log, log
	shell.ExtraFiles = []*os.File{write}
	// A session of its own: the interrupt key of a terminal must not reach the
	// keeper, nor the SIGHUP that the kernel sends to a process group with a
	// frozen member when our death orphans it.
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: user}
	leash, err := shell.StdinPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("keeper: %w", err), read.Close())
	}
	if err := shell.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("keeper: %w", err), read.Close())
	}
	write.Close()
	k := &keeper{shell: shell, leash: leash, gone: make(chan struct{})}
	lifeline := bufio.NewReader(read)
	line, err := lifeline.ReadString('\n')
	if err == nil {
		k.pid, err = strconv.Atoi(strings.TrimSpace(line))
	}
	if err != nil {
		leash.Close()
		return nil, errors.Join(fmt.Errorf("keeper: %w", err), shell.Wait(), read.Close())
	}
	go func() {
		defer close(k.gone)
		defer read.Close()
		io.Copy(io.Discard, lifeline) //nolint:errcheck // any end of it means that they are gone
	}()
	return k, nil
}

// release ends the server if it still runs, and then the keeper; the folder stays.
func (k *keeper) release() error {
	_, err := io.WriteString(k.leash, "stop\n")
	err = errors.Join(err, k.leash.Close(), k.shell.Wait())
	if err != nil {
		return fmt.Errorf("keeper: %w", err)
	}
	return nil
}
