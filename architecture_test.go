package rollwatch_test

import (
	"bytes"
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/rollwatch/rollwatch/"

// mayImport is the architecture: the path of the data, upstream first, and
// what each folder of ours may import of ours besides itself. A package that
// is not named belongs to the nearest folder above it that is.
var mayImport = map[string][]string{
	"probes/probe":         {},
	"probes":               {"probes/probe"},
	"collector":            {"probes/probe", "probes"},
	"alerts":               {"probes/probe", "probes", "collector"},
	"verdict":              {"probes/probe", "probes", "collector", "alerts"},
	"verdict/webhook":      {"probes/probe", "collector", "alerts", "verdict"},
	"verdict/report":       {"alerts", "verdict"},
	"api":                  {"probes/probe", "collector", "alerts", "verdict", "verdict/report"},
	"dashboards":           {"probes/probe", "probes", "collector", "alerts", "verdict"},
	"internal/live/server": {},
	"internal/live":        {"internal/live/server"},
	"deploy":               {},
	"internal/demo":        {"internal/live/server"},
	"internal/simulate":    {"probes/probe", "probes", "collector", "alerts", "verdict"},
	"cmd": {
		"probes/probe", "probes", "collector", "alerts", "verdict", "verdict/webhook", "api", "dashboards", "internal/demo", "internal/simulate",
	},
}

// isForTests says whether no program may be linked with a folder: the live
// servers, and helpers for tests, named like net/http/httptest.
func isForTests(folder string) bool {
	return folder == "internal/live" || strings.HasSuffix(folder, "test")
}

// probesDoNot lists what a probe stays free of, so that one reading can be
// written to Prometheus, to OpenTelemetry and to the window alike.
var probesDoNot = []string{
	"github.com/prometheus/client_golang", "github.com/prometheus/prometheus", "go.opentelemetry.io", "go.uber.org/zap", "log",
}

func TestImportsPointUpstreamOnly(t *testing.T) {
	for _, p := range packages(t) {
		from := folder(t, p.ImportPath)
		allowed := append([]string{from}, mayImport[from]...)
		program, tests := p.Imports, slices.Concat(p.TestImports, p.XTestImports)
		if isForTests(strings.TrimPrefix(p.ImportPath, module)) {
			program, tests = nil, slices.Concat(program, tests)
		}
		for _, to := range ours(program) {
			require.Contains(t, allowed, folder(t, to), "%s must not import %s", p.ImportPath, to)
			require.False(t, isForTests(to), "%s must not import %s outside its tests", p.ImportPath, to)
		}
		for _, to := range ours(tests) {
			require.Contains(t, append(allowed, "internal/live", "internal/live/server"), folder(t, to), "the tests of %s must not import %s", p.ImportPath, to)
		}
	}
}

func TestProbesKnowNoMetricsLibraryAndNoLog(t *testing.T) {
	for _, p := range packages(t) {
		if !strings.HasPrefix(p.ImportPath, module+"probes") {
			continue
		}
		for _, to := range p.Imports {
			foreign := slices.ContainsFunc(probesDoNot, func(not string) bool { return to == not || strings.HasPrefix(to, not+"/") })
			require.False(t, foreign, "%s must not import %s", p.ImportPath, to)
		}
	}
}

// A sleep makes a test slow when it is long and unsure when it is short, unless
// its time is a bubble's; a skipped test proves nothing and looks green.
func TestNoTestSleepsOrSkips(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			source, err := os.ReadFile(filepath.Join(p.Dir, name))
			require.NoError(t, err)
			bubble := bytes.Contains(source, []byte(`"testing/synctest"`))
			require.False(t, !bubble && bytes.Contains(source, []byte("time.Sleep(")), "%s/%s sleeps", p.Dir, name)
			require.NotRegexp(t, `\b[tb]\.Skip(f|Now)?\(`, string(source), "%s/%s skips", p.Dir, name)
		}
	}
}

// packages reads the import lines of every package itself, so that the test's
// cached result is not used after one of them has changed.
func packages(t *testing.T) (all []*build.Package) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || dir == "." {
			return err
		}
		if name := entry.Name(); name == "node_modules" || name == "testdata" || name == "tools" || strings.HasPrefix(name, ".") {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		if _, empty := errors.AsType[*build.NoGoError](err); empty {
			return nil
		}
		p.ImportPath = module + filepath.ToSlash(dir)
		all = append(all, p)
		return err
	}))
	require.NotEmpty(t, all)
	return all
}

// folder is the folder of the architecture that a package of ours belongs to.
func folder(t *testing.T, name string) string {
	t.Helper()
	for up := strings.TrimPrefix(name, module); up != "."; up = path.Dir(up) {
		if _, ok := mayImport[up]; ok {
			return up
		}
	}
	require.Failf(t, "no place for it", "%s has no place in the architecture", name)
	return ""
}

// ours are the imports within this module, without its path.
func ours(imports []string) (names []string) {
	for _, imported := range imports {
		if name, ok := strings.CutPrefix(imported, module); ok {
			names = append(names, name)
		}
	}
	return names
}
