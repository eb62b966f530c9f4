package flags

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
)

// maxRegistry is the longest registry file that is read, in bytes.
const maxRegistry = 4 << 20

// A registry is what a file in the application's repository says of its flags:
// by name, when each should be gone. The zero time is never.
type registry map[string]time.Time

// readRegistry reads a registry file, YAML or JSON: a list of flags with a name
// (or key), or a map by name, possibly under flags; each may hold expectedRemoval.
func readRegistry(path string) (registry, error) {
	file, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("registry_file: %w", err)
	}
	if file.Size() > maxRegistry {
		return nil, fmt.Errorf("registry_file %s: longer than %d bytes", path, maxRegistry)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("registry_file: %w", err)
	}
	r, err := parseRegistry(text)
	if err != nil {
		return nil, fmt.Errorf("registry_file %s: %w", path, err)
	}
	return r, nil
}

// An entry is what a registry says of one flag.
type entry struct {
	Name            string `yaml:"name"`
	Key             string `yaml:"key"`
	ExpectedRemoval string `yaml:"expectedRemoval"`
}

func parseRegistry(text []byte) (registry, error) {
	var document any
	// JSON may be indented by tabs, which YAML forbids.
	if json.Unmarshal(text, &document) != nil && yaml.Unmarshal(text, &document) != nil {
		return nil, errors.New("neither YAML nor JSON")
	}
	if wrapped, ok := document.(map[string]any); ok && wrapped["flags"] != nil {
		document = wrapped["flags"]
	}
	plain, err := yaml.Marshal(document)
	if err != nil {
		return nil, errors.New("neither YAML nor JSON")
	}
	var list []entry
	if yaml.Unmarshal(plain, &list) != nil {
		var byName map[string]entry
		if yaml.Unmarshal(plain, &byName) != nil || byName == nil {
			return nil, errors.New("want a list of flags with name and expectedRemoval, or a map of them by name")
		}
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			e := byName[name]
			e.Name = name
			list = append(list, e)
		}
	}
	r := registry{}
	for i, e := range list {
		name := e.Name
		if name == "" {
			name = e.Key
		}
		if !validName(name) {
			return nil, fmt.Errorf("flag %d has no name", i+1)
		}
		when, err := parseDate(e.ExpectedRemoval)
		if err != nil {
			return nil, fmt.Errorf("flag %s: expectedRemoval %q is no date: write it as 2026-12-31", name, e.ExpectedRemoval)
		}
		r[name] = when
	}
	return r, nil
}

// parseDate reads a day, whose end is meant, or a moment.
func parseDate(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	return time.Parse(time.RFC3339, text)
}

// names are the flags that are registered.
func (r registry) names() []string { return slices.Sorted(maps.Keys(r)) }
