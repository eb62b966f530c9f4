package live

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

// A BullMQ is BullMQ itself, of one major, in a Node process.
type BullMQ struct {
	mu      sync.Mutex
	process *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
	errors  bytes.Buffer
}

// Node runs BullMQ 5 or 6.
func Node(tb testing.TB, major int) *BullMQ {
	tb.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		tb.Fatal("live: Node is not installed, and BullMQ needs it: install nodejs and npm, version 20 or later")
	}
	folder := filepath.Join(sourceFolder(), "node")
	need(tb, installNode(folder))
	b := &BullMQ{process: exec.Command(node, "driver.mjs", strconv.Itoa(major))}
	b.process.Dir = folder
	b.process.Stderr = &b.errors
	b.input, err = b.process.StdinPipe()
	need(tb, err)
	output, err := b.process.StdoutPipe()
	need(tb, err)
	b.output = bufio.NewReader(output)
	need(tb, b.process.Start())
	tb.Cleanup(func() {
		b.input.Close() // which ends it
		if err := b.process.Wait(); err != nil {
			tb.Errorf("live: BullMQ: %v\n%s", err, b.errors.String())
		}
	})
	return b
}

// installNode fetches what package-lock.json names, if it is not there.
func installNode(folder string) error {
	// npm writes this file when everything else is there.
	proof := filepath.Join(folder, "node_modules", ".package-lock.json")
	return server.Once(proof, func() error { //nolint:wrapcheck // says all
		npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		npm.Dir = folder
		if output, err := npm.CombinedOutput(); err != nil {
			return fmt.Errorf("npm ci in %s: %w\n%s", folder, err, output)
		}
		return nil
	})
}

// ask sends one request to the driver and decodes its answer.
func (b *BullMQ) ask(tb testing.TB, request map[string]any, answer any) {
	tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	line, err := json.Marshal(request)
	need(tb, err)
	limit := time.AfterFunc(patience, func() { b.process.Process.Kill() }) //nolint:errcheck // the read below then ends
	defer limit.Stop()
	if _, err := b.input.Write(append(line, '\n')); err != nil {
		tb.Fatalf("live: BullMQ: %s: %v\n%s", line, err, b.errors.String())
	}
	said, err := b.output.ReadBytes('\n')
	if err != nil {
		tb.Fatalf("live: BullMQ: %s: no answer: %v\n%s", line, err, b.errors.String())
	}
	var reply struct {
		Result json.RawMessage `json:"result"`
		Error  string          `json:"error"`
	}
	need(tb, json.Unmarshal(said, &reply))
	if reply.Error != "" {
		tb.Fatalf("live: BullMQ: %s: %s", line, reply.Error)
	}
	if answer != nil {
		need(tb, json.Unmarshal(reply.Result, answer))
	}
}

// A Queue is one BullMQ queue.
type Queue struct {
	bullmq *BullMQ
	where  map[string]any
}

// Queue returns the queue with that name and prefix on the Redis at redisURL;
// an empty prefix is BullMQ's own, "bull". It is made by its first use.
func (b *BullMQ) Queue(tb testing.TB, redisURL, prefix, name string) *Queue {
	tb.Helper()
	address, err := url.Parse(redisURL)
	need(tb, err)
	host, port, err := net.SplitHostPort(address.Host)
	need(tb, err)
	where := map[string]any{"host": host, "port": port, "name": name}
	if password, ok := address.User.Password(); ok {
		where["password"] = password
	}
	if prefix != "" {
		where["prefix"] = prefix
	}
	return &Queue{bullmq: b, where: where}
}

// Call calls any method of BullMQ's Queue and decodes what it answers, unless
// answer is nil: q.Call(t, &n, "count").
func (q *Queue) Call(tb testing.TB, answer any, method string, args ...any) {
	tb.Helper()
	q.bullmq.ask(tb, map[string]any{"queue": q.where, "call": method, "args": args}, answer)
}

// Options are options of BullMQ under BullMQ's names: delay, priority,
// attempts, removeOnFail for a job; concurrency, lockDuration for a worker.
type Options map[string]any

// Add adds a job and returns its id.
func (q *Queue) Add(tb testing.TB, options Options) (id string) {
	tb.Helper()
	var job struct {
		ID string `json:"id"`
	}
	q.Call(tb, &job, "add", "job", map[string]any{}, options)
	return job.ID
}

// AddMany adds n jobs with the same options, in one call.
func (q *Queue) AddMany(tb testing.TB, n int, options Options) {
	tb.Helper()
	jobs := make([]map[string]any, n)
	for i := range jobs {
		jobs[i] = map[string]any{"name": "job", "data": map[string]any{}, "opts": options}
	}
	q.Call(tb, nil, "addBulk", jobs)
}

// AddFlow adds a parent job that waits for n children in the same queue.
func (q *Queue) AddFlow(tb testing.TB, n int) {
	tb.Helper()
	children := make([]map[string]any, n)
	for i := range children {
		children[i] = map[string]any{"name": "child", "queueName": q.where["name"]}
	}
	flow := map[string]any{"name": "parent", "queueName": q.where["name"], "children": children}
	q.bullmq.ask(tb, map[string]any{"queue": q.where, "flow": flow}, nil)
}

// Counts is BullMQ's own getJobCounts(): the number of jobs by state.
func (q *Queue) Counts(tb testing.TB) map[string]int {
	tb.Helper()
	var counts map[string]int
	q.Call(tb, &counts, "getJobCounts")
	return counts
}

// Await returns when n jobs are in a state, by BullMQ's own count.
func (q *Queue) Await(tb testing.TB, state string, n int) {
	tb.Helper()
	ctx, cancel := within()
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for counts := q.Counts(tb); counts[state] != n; counts = q.Counts(tb) {
		select {
		case <-pause.C:
		case <-ctx.Done():
			tb.Fatalf("live: BullMQ: not %d jobs %s: %v", n, state, counts)
		}
	}
}

// Pause pauses the queue.
func (q *Queue) Pause(tb testing.TB) { tb.Helper(); q.Call(tb, nil, "pause") }

// Resume resumes the queue.
func (q *Queue) Resume(tb testing.TB) { tb.Helper(); q.Call(tb, nil, "resume") }

// Obliterate removes the queue with all that is in it.
func (q *Queue) Obliterate(tb testing.TB) {
	tb.Helper()
	q.Call(tb, nil, "obliterate", map[string]any{"force": true})
}

// Schedule adds a job scheduler that makes a job every so often.
func (q *Queue) Schedule(tb testing.TB, id string, every time.Duration) {
	tb.Helper()
	q.Call(tb, nil, "upsertJobScheduler", id, map[string]any{"every": every.Milliseconds()})
}

// A Worker is one BullMQ Worker in a process of its own. One that is not ended
// is killed with its BullMQ.
type Worker struct {
	bullmq *BullMQ
	pid    int
}

// The works that a Worker can do with each job.
const (
	Complete = "complete" // it completes
	Fail     = "fail"     // it fails
	Block    = "block"    // it stays active for ever
)

// Worker starts a worker and returns when it is connected.
func (q *Queue) Worker(tb testing.TB, work string, options Options) *Worker {
	tb.Helper()
	return q.worker(tb, work, options)
}

// WorkerAt starts a worker that completes each job after it took so long.
func (q *Queue) WorkerAt(tb testing.TB, takes time.Duration, options Options) *Worker {
	tb.Helper()
	return q.worker(tb, takes.Milliseconds(), options)
}

func (q *Queue) worker(tb testing.TB, work any, options Options) *Worker {
	tb.Helper()
	w := &Worker{bullmq: q.bullmq}
	q.bullmq.ask(tb, map[string]any{"queue": q.where, "work": work, "options": options}, &w.pid)
	return w
}

// Stop closes the worker in good order.
func (w *Worker) Stop(tb testing.TB) { tb.Helper(); w.end(tb, "stop") }

// Kill ends the worker's process by SIGKILL, as a crash would: its job stays active.
func (w *Worker) Kill(tb testing.TB) { tb.Helper(); w.end(tb, "kill") }

func (w *Worker) end(tb testing.TB, how string) {
	tb.Helper()
	w.bullmq.ask(tb, map[string]any{"worker": w.pid, "end": how}, nil)
}
