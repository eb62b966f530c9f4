package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
)

// A migration renames a column under a feature that reads it. What is advised is
// true of the real servers: the flag that is on, by its key; and no image that the
// schema does not fit, also by a daemon that was not there when it was registered.
func TestTheWayBackIsTrueOfTheServers(t *testing.T) {
	t.Parallel()
	pg, redis := live.Postgres(t), live.Redis(t)
	pg.Exec(t, "CREATE TABLE users (id serial PRIMARY KEY, email text)")
	redis.Do(t, "set", "ff:checkout-v2", "true")
	redis.Do(t, "set", "ff:old-checkout", "false")
	login := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := pgx.Connect(r.Context(), pg.URL)
		if err == nil {
			_, err = conn.Exec(r.Context(), "SELECT email FROM users")
			_ = conn.Close(r.Context())
		}
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(login.Close)
	file := filepath.Join(t.TempDir(), "rollwatch.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
interval: 1s
data_dir: ${DATA}
postgres: [{name: main, url: %q}]
redis: [{name: main, url: %q}]
flags: [{name: flags, kind: redis, redis: main}]
services:
  - name: shop
    databases: [main]
    features: [{name: login, http: {url: "%s/login?tenant={{.tenant}}"}, tenants: {list: [acme]}, interval: 1s}]
`, pg.URL, redis.URL, login.URL), 0o600))
	loader := configLoader{file: file, lookup: environment(map[string]string{"DATA": t.TempDir()})}

	first := runLoader(t, loader)
	first.ready(t)
	eventually(t, "the feature was not tried", 20*time.Second, func() bool {
		_, metrics := first.get(t, "/metrics")
		return strings.Contains(metrics, `rollwatch_flag_info{flag="checkout-v2"`) && strings.Contains(metrics, `rollwatch_feature_`)
	})
	<-time.After(3 * time.Second) // the feature succeeds, before the rollout
	code, id, stderr := rollwatch(t, "rollout", "start", "--server", first.url, "--service=shop", "--version=2", "--previous-image=shop:1",
		"--flag=old-checkout", "--flag=checkout-v2", "--migration=prisma:mail:data:undo-mail.sql")
	require.Zero(t, code, stderr)
	ctx, cancel := context.WithTimeout(t.Context(), stopTimeout)
	defer cancel()
	require.NoError(t, first.stop(ctx))

	second := runLoader(t, loader)
	second.ready(t)
	<-time.After(3 * time.Second) // a feature is broken that succeeded under this daemon
	pg.Exec(t, "ALTER TABLE users RENAME COLUMN email TO mail; ALTER TABLE users ALTER COLUMN mail SET NOT NULL")
	code, stdout, stderr := rollwatch(t, "verdict", "shop", "--server", second.url, "--wait", "--timeout=30s")
	require.Equal(t, exitRollback, code, "%s %s\n%s", id, stdout, stderr)
	require.Contains(t, stdout, "critical_feature firing (enforce)")
	require.Contains(t, stdout, "way back  turn off the flag checkout-v2, as redis main: SET ff:checkout-v2 false\n")
	require.Contains(t, stdout, "          or deploy the image shop:1, run undo-mail.sql (blocked by schema)\n")
	require.Contains(t, stdout, "schema    main: the column email of users is gone; mail is new and of the same type (text): renamed? (the previous version may fail on it)\n")
	require.Contains(t, stdout, "          main: the column mail of users is new, must not be null and has no default: an insert that does not name it fails (the previous version may fail on it)\n")
	require.Contains(t, stdout, "notes     the flag old-checkout is no way back: it is off already\n")
	require.Contains(t, stdout, "          the schema of main does not fit the previous version any more: 2 of 2 differences since the registration")
}
