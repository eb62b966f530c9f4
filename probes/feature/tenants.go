package feature

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rollwatch/rollwatch/probes/postgres"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// Bounds of the tenants of one feature.
const (
	maxTenants     = 200_000
	maxTenantName  = 200 // bytes: it becomes a label
	maxTenantsFile = 32 << 20
)

// names reads the tenants from where the configuration says. Those that cannot
// be a label are counted in refused, as are those over maxTenants.
func (t Tenants) names(ctx context.Context) (tenants []string, refused int, err error) {
	switch {
	case !t.configured():
		return []string{""}, 0, nil
	case t.File != "":
		tenants, err = readFile(t.File)
	case t.Query != "":
		tenants, err = postgres.Column(ctx, t.Database, t.Query, maxTenants+1)
	default:
		tenants = t.List
	}
	if err != nil {
		return nil, 0, fmt.Errorf("tenants: %w", err)
	}
	kept := make([]string, 0, len(tenants))
	seen := make(map[string]bool, len(tenants))
	for _, name := range tenants {
		switch {
		case seen[name]:
		case !fit(name) || len(kept) == maxTenants:
			refused++
		default:
			seen[name] = true
			kept = append(kept, name)
		}
	}
	return kept, refused, nil
}

// fit says whether a tenant's name can be a label and be shown.
func fit(name string) bool {
	return name != "" && len(name) <= maxTenantName && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// readFile reads one tenant a line; blank lines and those that begin with #
// are passed over.
func readFile(path string) ([]string, error) {
	f, err := probe.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var tenants []string
	lines := bufio.NewScanner(io.LimitReader(f, maxTenantsFile))
	for lines.Scan() {
		if name := strings.TrimSpace(lines.Text()); name != "" && !strings.HasPrefix(name, "#") {
			tenants = append(tenants, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return tenants, nil
}
