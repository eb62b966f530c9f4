package live

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/rollwatch/rollwatch/internal/live/server"
)

// A WebServer is a Prometheus or an Alertmanager.
type WebServer struct {
	control

	Addr string // host:port
	URL  string // http://host:port
}

// Prometheus runs the pinned Prometheus on a configuration. Paths in it should
// be absolute. POST /-/reload is open. It writes and keeps as much as the test lasts.
// An alert is sent again each second: one that fires before discovery has named
// the Alertmanager is lost, and by default the next would follow a minute later.
func Prometheus(tb testing.TB, configYAML string, flags ...string) *WebServer {
	tb.Helper()
	return web(tb, "prometheus", configYAML, func(folder, address string) []string {
		return append([]string{
			"--config.file=" + filepath.Join(folder, configFile), "--storage.tsdb.path=" + filepath.Join(folder, "data"),
			"--web.listen-address=" + address, "--web.enable-lifecycle", "--log.level=warn",
			"--rules.alert.resend-delay=1s",
		}, flags...)
	})
}

// Alertmanager runs the pinned Alertmanager, alone, on a configuration.
func Alertmanager(tb testing.TB, configYAML string, flags ...string) *WebServer {
	tb.Helper()
	return web(tb, "alertmanager", configYAML, func(folder, address string) []string {
		return append([]string{
			"--config.file=" + filepath.Join(folder, configFile), "--storage.path=" + filepath.Join(folder, "data"),
			"--web.listen-address=" + address, "--cluster.listen-address=", "--log.level=warn",
		}, flags...)
	})
}

// promtoolTime is for a machine that does much else: a test of all rules takes
// some seconds of a processor.
const promtoolTime = 3 * time.Minute

// Promtool runs the pinned promtool and returns what it printed; the test
// fails if it fails.
func Promtool(tb testing.TB, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), promtoolTime)
	defer cancel()
	output, err := exec.CommandContext(ctx, tool(tb, "prometheus", "promtool"), args...).CombinedOutput()
	if err != nil {
		tb.Fatalf("live: promtool %q: %v\n%s", args, err, output)
	}
	return string(output)
}

const configFile = "config.yml"

func web(tb testing.TB, name, config string, argv func(folder, address string) []string) *WebServer {
	tb.Helper()
	program := tool(tb, name, name)
	s, err := server.Run(tb.Context(), server.Command{
		Name: name,
		Argv: func(folder, port string) []string {
			return append([]string{program}, argv(folder, server.Host+":"+port)...)
		},
		Ready: ready,
		Stop:  syscall.SIGTERM,
		Prepare: func(_ context.Context, folder string, _ *syscall.Credential) error {
			return os.WriteFile(filepath.Join(folder, configFile), []byte(config), 0o600)
		},
	})
	need(tb, err)
	closeAfter(tb, name, s)
	return &WebServer{control: control{s}, Addr: s.Addr, URL: "http://" + s.Addr}
}

// ready asks as both of them are asked.
func ready(ctx context.Context, addr string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/-/ready", http.NoBody)
	if err != nil {
		return fmt.Errorf("ready: %w", err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ready: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ready: %s", response.Status)
	}
	return nil
}

// tool is the path of a program that setup.sh built from internal/tools/<name>,
// in the version that its go.mod pins.
func tool(tb testing.TB, name, program string) string {
	tb.Helper()
	gomod, err := os.ReadFile(filepath.Join(sourceFolder(), "..", "tools", name, "go.mod"))
	need(tb, err)
	pinned := regexp.MustCompile(`(?m)^\s*github\.com/prometheus/` + name + ` (v\S+)`).FindSubmatch(gomod)
	if pinned == nil {
		tb.Fatalf("live: internal/tools/%s/go.mod names no version of %s", name, name)
	}
	cache, err := server.CacheFolder()
	need(tb, err)
	path := filepath.Join(cache, "tools", name+"-"+string(pinned[1]), program)
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("live: no %s: run `make setup`, which builds it: %v", program, err)
	}
	return path
}
