package server

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// tree lists a process and its descendants, parents first. A process group
// would not do: each PostgreSQL backend makes a session of its own.
func tree(root int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	children := map[int][]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if parent, ok := parentOf(pid); ok {
			children[parent] = append(children[parent], pid)
		}
	}
	pids := []int{root}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids, nil
}

// parentOf reads the parent from /proc/<pid>/stat, whose second field is a
// name in parentheses that may itself hold spaces and parentheses.
func parentOf(pid int) (int, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false // gone meanwhile
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return parent, err == nil
}

// signalTree sends a signal to a process and all its descendants, until no new
// ones appear: a process may fork between our looking and our signalling.
func signalTree(root int, signal syscall.Signal) error {
	var done []int
	for {
		pids, err := tree(root)
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(done, pid) })
		if len(fresh) == 0 {
			return nil
		}
		for _, pid := range fresh {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("%v to process %d: %w", signal, pid, err)
			}
		}
		done = append(done, fresh...)
	}
}
