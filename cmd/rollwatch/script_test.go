package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/rollwatch/rollwatch/internal/live"
)

func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){
		"rollwatch": func() { os.Exit(run()) },
	})
}

// leakFree fails a run of the tests that leaves a goroutine behind.
type leakFree struct{ *testing.M }

func (m leakFree) Run() int {
	code := m.M.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestStories runs testdata/script/*.txt: the program as a user meets it. A
// story has $REDIS_URL of a server of its own if it asks for one, and $PORT on
// which nobody listens.
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			port := live.FreePort(t)
			env.Setenv("PORT", port)
			env.Setenv("ROLLWATCH_SERVER", "http://127.0.0.1:"+port)
			env.Setenv("ROLLWATCH_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			contract, err := os.ReadFile(contractFile)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(env.WorkDir, "contract.yml"), contract, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"redis":   startRedis(t),
			"ready":   waitReady,
			"occupy":  occupy,
			"corrupt": corrupt,
			"idof":    idOf,
		},
	})
}

// startRedis is the command "redis": a real server at $REDIS_URL, with the
// arguments of redis-server that are given.
func startRedis(t *testing.T) func(*testscript.TestScript, bool, []string) {
	t.Helper()
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Setenv("REDIS_URL", "redis://"+live.Redis(t, args...).Addr+"/0")
	}
}

// waitReady is the command "ready": it waits until the daemon has read every
// target once.
func waitReady(ts *testscript.TestScript, neg bool, _ []string) {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		resp, err := http.Get(ts.Getenv("ROLLWATCH_SERVER") + "/-/ready")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	ts.Fatalf("the daemon is not ready")
}

// occupy is the command "occupy": somebody else listens on $PORT.
func occupy(ts *testscript.TestScript, _ bool, _ []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
	ts.Check(err)
	ts.Defer(func() { _ = listener.Close() })
}

// corrupt is the command "corrupt FILE": it writes over the middle of the file
// and its first bytes.
func corrupt(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	text, err := os.ReadFile(file)
	ts.Check(err)
	copy(text, "this is no database at all")
	ts.Check(os.WriteFile(file, text, 0o600))
}

// idOf is the command "idof": $ID is the rollout that the last command has named first.
func idOf(ts *testscript.TestScript, _ bool, _ []string) {
	id := regexp.MustCompile(`r-[0-9]+-[0-9]+-[a-z0-9-]+`).FindString(ts.ReadFile("stdout"))
	if id == "" {
		ts.Fatalf("no rollout is named")
	}
	ts.Setenv("ID", id)
}
