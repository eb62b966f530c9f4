package webhook

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/verdict"
)

const (
	childEnv = "ROLLWATCH_TEST_CRASH" // "ledger file" + "\n" + "address of the receiver"
	rounds   = 50
	badAfter = 30 * time.Millisecond // how long a rollout is healthy
	killIn   = 90 * time.Millisecond // a crash comes within this time of a registration
)

// child is a daemon that registers a rollout for each line it is given, judges
// and delivers, until it is killed.
func child() int {
	if err := serveUntilKilled(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveUntilKilled() error {
	var ledgerPath, address string
	if _, err := fmt.Sscanf(os.Getenv(childEnv), "%s\n%s", &ledgerPath, &address); err != nil {
		return err
	}
	ledger, err := verdict.OpenLedger(ledgerPath)
	if err != nil {
		return err
	}
	hooks := []Config{{Name: "deployer", URL: probe.NewSecret(address), Secret: probe.NewSecret(vector)}}
	deliverer := New(Options{Webhooks: hooks, Ledger: ledger})
	ctx := context.Background()
	engine, err := verdict.NewEngine(ctx, verdict.Options{
		Services: []*alerts.Service{{Name: "api"}}, Ledger: ledger, Interval: 10 * time.Millisecond,
		Endpoints: Endpoints(hooks), OnOwed: deliverer.Wake, Evaluate: badAfterAWhile,
	})
	if err != nil {
		return err
	}
	go engine.Run(ctx)
	go deliverer.Run(ctx)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if _, _, err := engine.Register(ctx, verdict.Registration{Service: "api", Version: lines.Text(), Strategy: alerts.Rolling}, lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func badAfterAWhile(_ context.Context, _ []alerts.Gate, scene alerts.Scene) ([]alerts.Finding, error) {
	f := alerts.Finding{Gate: "data_corruption", State: alerts.OK, Mode: alerts.Enforce, InGrace: true, Required: true, Coverage: 1}
	if scene.Now.Sub(scene.Subject.StartedAt) > badAfter {
		f.State, f.Message = alerts.Firing, "rows without an owner"
	}
	return []alerts.Finding{f}, nil
}

// A receiver remembers what it was sent, and tells of final verdicts.
type receiver struct {
	t     *testing.T
	mu    sync.Mutex
	byID  map[string]string   // event id: the body that came with it
	ids   map[string][]string // version and verdict: ids under which its event came
	twice int
	final chan string // versions
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the daemon was killed while it sent
	}
	verifier, err := standardwebhooks.NewWebhook(vector)
	if err != nil || verifier.Verify(body, req.Header) != nil {
		r.t.Errorf("an event whose signature does not hold: %s", body)
	}
	var event verdict.Event
	if err := json.Unmarshal(body, &event); err != nil {
		r.t.Errorf("an event that cannot be read: %v", err)
	}
	r.note(req.Header.Get("webhook-id"), string(body), event.Data)
	if event.Type == verdict.VerdictFinal {
		r.final <- event.Data.Version
	}
	w.WriteHeader(http.StatusOK)
}

func (r *receiver) note(id, body string, doc verdict.Document) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, ok := r.byID[id]; ok {
		r.twice++
		if before != body {
			r.t.Errorf("event %s came with other bytes: %s, then %s", id, before, body)
		}
		return
	}
	r.byID[id] = body
	what := fmt.Sprintf("%s %s", doc.Version, doc.Verdict)
	r.ids[what] = append(r.ids[what], id)
}

// TestEveryVerdictArrivesThoughTheDaemonIsKilled kills the daemon at random
// moments around a verdict, starts it again, and waits for the webhook.
func TestEveryVerdictArrivesThoughTheDaemonIsKilled(t *testing.T) {
	r := &receiver{t: t, byID: make(map[string]string), ids: make(map[string][]string), final: make(chan string, 10*rounds)}
	server := httptest.NewServer(r)
	defer server.Close()
	daemon := &daemon{t: t, env: childEnv + "=" + filepath.Join(t.TempDir(), "ledger.db") + "\n" + server.URL}
	daemon.start()
	defer func() { daemon.kill() }()

	for i := range rounds {
		version := fmt.Sprintf("v%d", i)
		daemon.register(version)
		<-time.After(rand.N(killIn)) // the moment of the crash is what is random here
		daemon.kill()
		daemon.start()
		daemon.register(version)
		r.awaitFinal(version)
	}
	finals := 0
	for what, ids := range r.ids {
		require.Len(t, ids, 1, what)
		if strings.HasSuffix(what, string(verdict.Rollback)) {
			finals++
		}
	}
	require.Equal(t, rounds, finals)
	t.Logf("%d events, %d of them sent again", len(r.byID), r.twice)
}

func (r *receiver) awaitFinal(version string) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case got := <-r.final:
			if got == version {
				return
			}
		case <-deadline:
			r.t.Fatalf("the verdict on %s never arrived", version)
		}
	}
}

// A daemon is this test binary, run again as a daemon.
type daemon struct {
	t     *testing.T
	env   string
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func (d *daemon) start() {
	d.t.Helper()
	d.cmd = exec.Command(os.Args[0])
	d.cmd.Env = append(os.Environ(), d.env)
	d.cmd.Stderr = os.Stderr
	var err error
	d.stdin, err = d.cmd.StdinPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, d.cmd.Start())
}

func (d *daemon) register(version string) {
	_, err := io.WriteString(d.stdin, version+"\n")
	require.NoError(d.t, err)
}

func (d *daemon) kill() {
	require.NoError(d.t, d.cmd.Process.Kill())
	_ = d.cmd.Wait() // it was killed: that is its error
}
