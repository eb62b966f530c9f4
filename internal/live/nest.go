package live

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

// A Release is what a Nest runs.
type Release struct {
	Version  string `json:"version"`
	Database string `json:"database"` // URL
	// Faults are what the version has wrong: "cross-tenant" writes rows of one
	// tenant for another, "login:<tenant>" lets nobody of that tenant in.
	Faults []string `json:"faults,omitempty"`
}

// A Nest is one instance of a small multi-tenant service on NestJS (saas/app.mjs),
// with Terminus at /health and prom-client at /metrics.
type Nest struct {
	URL     string
	process *exec.Cmd
	input   io.Closer
	errors  bytes.Buffer
}

// NestJS runs an instance of a release until the test ends, or Stop.
func NestJS(tb testing.TB, release Release) *Nest {
	tb.Helper()
	folder := filepath.Join(sourceFolder(), "saas")
	need(tb, installNode(folder))
	spec, err := json.Marshal(release)
	need(tb, err)
	n := &Nest{process: exec.Command("node", "app.mjs", string(spec))}
	n.process.Dir, n.process.Stderr = folder, &n.errors
	n.input, err = n.process.StdinPipe()
	need(tb, err)
	output, err := n.process.StdoutPipe()
	need(tb, err)
	need(tb, n.process.Start())
	tb.Cleanup(func() { n.Stop(tb) })
	limit := time.AfterFunc(patience, func() { n.process.Process.Kill() }) //nolint:errcheck // the read below then ends
	defer limit.Stop()
	var said struct {
		Port int `json:"port"`
	}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil {
		tb.Fatalf("live: NestJS did not start: %v\n%s", err, n.errors.String())
	}
	n.URL = "http://" + net.JoinHostPort(server.Host, strconv.Itoa(said.Port))
	return n
}

// Stop ends the instance, as a deploy tool would; once is enough.
func (n *Nest) Stop(tb testing.TB) {
	tb.Helper()
	if n.process.ProcessState != nil {
		return
	}
	n.input.Close()
	if err := n.process.Wait(); err != nil {
		tb.Errorf("live: NestJS: %v\n%s", err, n.errors.String())
	}
}
