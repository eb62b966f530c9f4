package collector

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"
)

func open(tb testing.TB, dir string) *Store {
	tb.Helper()
	store, err := Open(dir, DefaultConfig(), zaptest.NewLogger(tb))
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, store.Close()) })
	return store
}

// write appends one sample of each named series.
func write(s *Store, t time.Time, v float64, names ...string) error {
	app := s.AppenderV2(context.Background())
	for _, name := range names {
		lset := labels.FromStrings(model.MetricNameLabel, name)
		if _, err := app.Append(0, lset, 0, t.UnixMilli(), v, nil, nil, storage.AppendV2Options{}); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	return app.Commit()
}

func TestStoreSurvivesARestart(t *testing.T) {
	dir, start := t.TempDir(), time.Now().Truncate(time.Second)
	store, err := Open(dir, DefaultConfig(), zap.NewNop())
	require.NoError(t, err)
	for i := range 10 {
		require.NoError(t, write(store, start.Add(time.Duration(i)*time.Second), float64(i), "x", "y"))
	}
	require.NoError(t, store.Close())

	again := open(t, dir)
	require.NoError(t, write(again, start.Add(10*time.Second), 10, "x", "y"))
	got, err := again.Select(t.Context(), start, start.Add(time.Minute), named("x"))
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Len(t, got[0].Points, 10, "the first is left out: from is exclusive")
	require.Equal(t, Point{T: start.Add(10 * time.Second).UnixMilli(), V: 10}, got[0].Points[9])

	sum, err := again.Query(t.Context(), "x + y", start.Add(10*time.Second), start.Add(10*time.Second), 0)
	require.NoError(t, err)
	require.Equal(t, 20.0, sum[0].Floats[0].F)
}

// TestHelperWriter is no test: it is the process that TestStoreSurvivesKill kills.
func TestHelperWriter(t *testing.T) {
	dir := os.Getenv("ROLLWATCH_TEST_WRITER_DIR")
	if dir == "" {
		return
	}
	store, err := Open(dir, DefaultConfig(), zap.NewNop())
	require.NoError(t, err)
	start := time.Now().Truncate(time.Second)
	for i := 0; ; i++ {
		require.NoError(t, write(store, start.Add(time.Duration(i)*time.Millisecond), float64(i), "x"))
		fmt.Println("wrote", start.UnixMilli(), i)
	}
}

func TestStoreSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelperWriter$")
	cmd.Env = append(os.Environ(), "ROLLWATCH_TEST_WRITER_DIR="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var start, last int64
	for lines := bufio.NewScanner(out); lines.Scan() && last < 2000; {
		_, err := fmt.Sscanf(lines.Text(), "wrote %d %d", &start, &last)
		require.NoError(t, err, lines.Text())
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait(), "it was killed")

	got, err := open(t, dir).Select(t.Context(), time.UnixMilli(start-1), time.UnixMilli(start+3_600_000), named("x"))
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.GreaterOrEqual(t, len(got[0].Points), int(last)+1, "everything that was committed is there")
}

func TestOpenRepairsATornLog(t *testing.T) {
	dir, start := t.TempDir(), time.Now().Truncate(time.Second)
	store, err := Open(dir, DefaultConfig(), zap.NewNop())
	require.NoError(t, err)
	for i := range 100 {
		require.NoError(t, write(store, start.Add(time.Duration(i)*time.Second), float64(i), "x"))
	}
	require.NoError(t, store.Close())
	segments, err := filepath.Glob(filepath.Join(dir, "window", "wal", "0*"))
	require.NoError(t, err)
	require.NotEmpty(t, segments)
	f, err := os.OpenFile(segments[0], os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("this is no record of any kind"), 2000)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	repaired := open(t, dir)
	got, err := repaired.Select(t.Context(), start.Add(-time.Second), start.Add(time.Hour), named("x"))
	require.NoError(t, err)
	require.NotEmpty(t, got[0].Points)
	require.Less(t, len(got[0].Points), 100, "what stood behind the tear is lost")
	require.NoError(t, write(repaired, start.Add(time.Hour), 1, "x"), "and it goes on")
}

func TestOpenSetsADamagedBlockAside(t *testing.T) {
	dir := t.TempDir()
	block := filepath.Join(dir, "window", "01HZZZZZZZZZZZZZZZZZZZZZZZ")
	require.NoError(t, os.MkdirAll(block, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(block, "meta.json"), []byte(`{"ulid":`), 0o600))

	core, logged := observer.New(zap.WarnLevel)
	store, err := Open(dir, DefaultConfig(), zap.New(core))
	require.NoError(t, err)
	require.NoError(t, write(store, time.Now(), 1, "x"))
	require.NoError(t, store.Close())
	require.DirExists(t, block+".damaged")
	require.Equal(t, block+".damaged", logged.All()[0].ContextMap()["folder"])
}

func TestOpenExplainsWhatToDo(t *testing.T) {
	taken := t.TempDir()
	open(t, taken)

	damaged := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(damaged, "window", "chunks_head", "000001"), 0o755))

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	for name, c := range map[string]struct{ dir, want string }{
		"two on one folder":    {taken, "is in use by another process: stop it, or set another data_dir"},
		"not what we left":     {damaged, "is damaged: move it away (mv "},
		"a file in the folder": {file, "set another data_dir"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(c.dir, DefaultConfig(), zap.NewNop())
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, filepath.Join(c.dir, "window"))
		})
	}
}

func TestStoreOnAFullDiskSaysSoAndRecovers(t *testing.T) {
	store, now := open(t, t.TempDir()), time.Now()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(store)
	require.NoError(t, write(store, now, 1, "x"))
	require.Empty(t, store.Degraded())

	store.free = func(string) (int64, error) { return diskReserve - 1, nil }
	require.ErrorIs(t, write(store, now.Add(time.Second), 2, "x"), errDiskFull)
	require.Contains(t, store.Degraded(), "nothing is recorded until there is room")
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP rollwatch_window_append_failures_total Batches of samples that could not be recorded in the window.
# TYPE rollwatch_window_append_failures_total counter
rollwatch_window_append_failures_total 1
# HELP rollwatch_window_degraded Whether the newest batch of samples could not be recorded (1) or could (0).
# TYPE rollwatch_window_degraded gauge
rollwatch_window_degraded 1
`), "rollwatch_window_append_failures_total", "rollwatch_window_degraded"))

	store.free = freeBytes
	require.NoError(t, write(store, now.Add(2*time.Second), 3, "x"))
	require.Empty(t, store.Degraded())
	lint, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, lint)
}

func TestOpenRefusesAFullDisk(t *testing.T) {
	full := func(string) (int64, error) { return openReserve - 1, nil }
	_, err := openStore(t.TempDir(), DefaultConfig(), zap.NewNop(), full)
	require.ErrorContains(t, err, "is full: make room")

	low := func(string) (int64, error) { return openReserve, nil }
	store, err := openStore(t.TempDir(), DefaultConfig(), zap.NewNop(), low)
	require.NoError(t, err, "what has been recorded can still be judged by")
	require.ErrorIs(t, write(store, time.Now(), 1, "x"), errDiskFull)
	require.NoError(t, store.Close())
}

// TestHelperCloser is no test: it is a process that cannot write out its window.
func TestHelperCloser(t *testing.T) {
	dir := os.Getenv("ROLLWATCH_TEST_CLOSER_DIR")
	if dir == "" {
		return
	}
	store, err := Open(dir, DefaultConfig(), zap.NewNop())
	require.NoError(t, err)
	for i := range 300 { // more than the chunk that stays in memory
		require.NoError(t, write(store, time.Unix(int64(i), 0), float64(i), "x"))
	}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "window", "chunks_head")))
	fmt.Println(store.Close())
	os.Exit(0) // with the goroutine that the storage leaves behind
}

func TestCloseReportsWhatItCannotWrite(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelperCloser$")
	cmd.Env = append(os.Environ(), "ROLLWATCH_TEST_CLOSER_DIR="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "it does not panic: %s", out)
	require.Contains(t, string(out), "close the window "+filepath.Join(dir, "window"))

	got, err := open(t, dir).Select(t.Context(), time.Unix(-1, 0), time.Unix(300, 0), named("x"))
	require.NoError(t, err)
	require.Len(t, got[0].Points, 300, "the log has it all")
}

func TestStoreReportsAnAppendThatFails(t *testing.T) {
	store, err := Open(t.TempDir(), DefaultConfig(), zap.NewNop())
	require.NoError(t, err)
	require.NoError(t, store.Close())
	require.Error(t, write(store, time.Now(), 1, "x"))
	require.Contains(t, store.Degraded(), "append to the window")
}
