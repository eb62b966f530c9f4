package rollwatch_test

import (
	"errors"
	"go/build"
	"io/fs"
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
	"collector/windowtest": {"collector"},
	"alerts":               {"probes/probe", "probes", "collector"},
	"verdict":              {"probes/probe", "probes", "collector", "alerts"},
	"verdict/webhook":      {"probes/probe", "verdict"},
	"api":                  {"probes/probe", "collector", "alerts", "verdict"},
	"dashboards":           {"probes/probe", "probes", "collector", "alerts", "verdict"},
	"internal/live/server": {},
	"internal/live":        {"internal/live/server"},
	"internal/demo":        {"internal/live/server"},
	"cmd": {
		"probes/probe", "probes", "collector", "alerts", "verdict", "verdict/webhook", "api", "dashboards", "internal/demo",
	},
}

// onlyTestsImport are the folders that no program may be linked with.
var onlyTestsImport = []string{"internal/live", "internal/live/server", "collector/windowtest"}

// probesDoNot lists what a probe stays free of, so that one reading can be
// written to Prometheus, to OpenTelemetry and to the window alike.
var probesDoNot = []string{
	"github.com/prometheus/client_golang", "github.com/prometheus/prometheus", "go.opentelemetry.io", "go.uber.org/zap", "log",
}

func TestImportsPointUpstreamOnly(t *testing.T) {
	for _, p := range packages(t) {
		from := folder(t, p.ImportPath)
		for _, to := range ours(t, p.Imports) {
			require.Contains(t, append(mayImport[from], from), to, "%s must not import it", p.ImportPath)
		}
		for _, to := range ours(t, slices.Concat(p.TestImports, p.XTestImports)) {
			require.Contains(t, slices.Concat(mayImport[from], onlyTestsImport, []string{from}), to, "the tests of %s must not import it", p.ImportPath)
		}
		if path.Dir(from) == "probes" || from == "probes" {
			for _, to := range p.Imports {
				foreign := slices.ContainsFunc(probesDoNot, func(not string) bool { return to == not || strings.HasPrefix(to, not+"/") })
				require.False(t, foreign, "%s must not import %s", p.ImportPath, to)
			}
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
func folder(t *testing.T, importPath string) string {
	t.Helper()
	for name := strings.TrimPrefix(importPath, module); name != "."; name = path.Dir(name) {
		if _, ok := mayImport[name]; ok {
			return name
		}
	}
	require.Failf(t, "no place for it", "%s has no place in the architecture", importPath)
	return ""
}

func ours(t *testing.T, imports []string) (folders []string) {
	t.Helper()
	for _, imported := range imports {
		if strings.HasPrefix(imported, module) {
			folders = append(folders, folder(t, imported))
		}
	}
	return folders
}
