package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/internal/live"
)

// serving runs serve until the test ends, and returns its log and its address.
func serving(t *testing.T, text string) (*observer.ObservedLogs, *running) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rollwatch.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	core, logs := observer.New(zap.InfoLevel)
	address := "127.0.0.1:" + live.FreePort(t)
	data := t.TempDir()
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, appOptions{
			loader: configLoader{file: file, lookup: environment(map[string]string{"DATA": data})}, listen: []string{address}, log: zap.New(core),
		})
	}()
	t.Cleanup(func() {
		end()
		require.NoError(t, <-ended)
		http.DefaultClient.CloseIdleConnections()
	})
	eventually(t, "not listening", 10*time.Second, func() bool { return logs.FilterMessage("listening").Len() > 0 })
	return logs, &running{url: "http://" + address, logs: logs, file: file}
}

func TestAHangUpReloadsAndNeverEndsTheDaemon(t *testing.T) {
	text := fmt.Sprintf("interval: 1s\ndata_dir: ${DATA}\nredis: [{name: main, url: \"redis://:hunter2@%s/0\"}]\n", live.Hang(t))
	logs, r := serving(t, text)
	hangUp := func() { require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP)) }

	hangUp()
	eventually(t, "no reload", 10*time.Second, func() bool { return logs.FilterMessage("the configuration was reloaded").Len() == 1 })
	require.NoError(t, os.WriteFile(r.file, []byte("interval: 1"), 0o600))
	hangUp()
	eventually(t, "no refusal", 10*time.Second, func() bool {
		return logs.FilterMessage("the configuration was refused, the old one stays").Len() == 1
	})
	require.Equal(t, "0", r.value(t, "rollwatch_config_last_reload_successful"))
	eventually(t, "the old configuration is not in force", 10*time.Second, func() bool {
		return r.value(t, `rollwatch_probe_up{kind="redis",target="main"}`) == "0"
	})
	for _, entry := range logs.All() {
		require.NotContains(t, fmt.Sprint(entry.Message, entry.ContextMap()), "hunter2")
	}
}
