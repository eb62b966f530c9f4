package demo

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

//go:embed rollwatch.yml.tmpl
var configTemplate string

// writeConfig writes ConfigFile with the addresses of this world.
func (w *World) writeConfig(context.Context) error {
	parsed, err := template.New("rollwatch.yml").Parse(configTemplate)
	if err != nil {
		return fmt.Errorf("configuration of the demo: %w", err)
	}
	var file bytes.Buffer
	err = parsed.Execute(&file, map[string]string{
		"DataDir":    filepath.Join(w.dir, "data"),
		"Postgres":   w.postgresURL,
		"Redis":      "redis://" + w.redisAddr + "/0",
		"Service":    ServiceName,
		"Stable":     w.stable.url,
		"Canary":     w.canary.url,
		"Webhook":    w.receiver.url,
		"SecretFile": w.secretFile(),
	})
	if err != nil {
		return fmt.Errorf("configuration of the demo: %w", err)
	}
	return os.WriteFile(w.ConfigFile(), file.Bytes(), 0o600)
}
