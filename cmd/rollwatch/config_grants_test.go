package main

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

// What config grants prints is enough for every reading, and not one more: it
// is given to a role and a user of the servers as it is printed.
func TestTheGrantsThatArePrintedAreEnough(t *testing.T) {
	pg, redis := live.Postgres(t), live.Redis(t)
	pg.Exec(t, `CREATE SCHEMA drizzle; CREATE TABLE drizzle.__drizzle_migrations (id serial, hash text, created_at bigint);
		CREATE TABLE _prisma_migrations (migration_name text, finished_at timestamptz, rolled_back_at timestamptz, logs text)`)
	queue := live.Node(t, 5).Queue(t, redis.URL, "", "mail")
	queue.AddMany(t, 3, nil)
	tasks := asynq.NewClient(asynq.RedisClientOpt{Addr: redis.Addr})
	defer tasks.Close()
	_, err := tasks.Enqueue(asynq.NewTask("mail", nil))
	require.NoError(t, err)

	whole := readAll(t, grantedConfig(t, pg.URL, redis.URL))
	grants := grantsOf(grantedConfig(t, pg.URL, redis.URL))
	require.Len(t, grants, 2)
	pg.Exec(t, strings.Join(grants[0].SQL, "\n"))
	words := strings.Fields(strings.NewReplacer("'>change me'", ">secret", "'", "").Replace(grants[1].ACL))
	args := make([]any, len(words))
	for i, word := range words {
		args[i] = word
	}
	redis.Do(t, args...)

	granted := readAll(t, grantedConfig(t, asUser(t, pg.URL, url.User("rollwatch")), asUser(t, redis.URL, url.UserPassword("rollwatch", "secret"))))
	require.Equal(t, whole, granted, "no reading is lost")
	require.Equal(t, map[string]int{"main": 7}, granted.columns, "nor is any of the schema")
	require.Empty(t, redis.Do(t, "acl", "log"), "and nothing is asked that is refused")

	pg.Exec(t, "REVOKE pg_monitor FROM rollwatch; REVOKE SELECT ON _prisma_migrations FROM rollwatch")
	poorer := readAll(t, grantedConfig(t, asUser(t, pg.URL, url.User("rollwatch")), redis.URL))
	denied := map[string]probe.ViewState{}
	for view, state := range poorer.views {
		if state == probe.ViewDenied {
			denied[view] = state
		}
	}
	require.ElementsMatch(t, []string{
		"postgres main activity", "postgres main blocking", "postgres main replication", "postgres main sessions",
		"postgres main wal", "postgres main xmin", "postgres main migrations_prisma",
	}, slices.Collect(maps.Keys(denied)), "each is named by itself")
}

// all is everything that was read: the families, and how each view went.
type all struct {
	families map[string]bool
	columns  map[string]int // of the schema of each database
	views    map[string]probe.ViewState
}

func readAll(t *testing.T, config *Config) all {
	t.Helper()
	set, err := openTargets(config)
	require.NoError(t, err)
	defer set.links.Close()
	found := all{map[string]bool{}, map[string]int{}, map[string]probe.ViewState{}}
	for _, s := range collector.ReadOnce(t.Context(), set.targets, zap.NewNop()) {
		require.NoError(t, s.Err, s.Name)
		for _, sample := range s.Reading.Samples {
			found.families[sample.Metric.Name] = true
		}
		if s.Reading.Schema != nil {
			found.columns[s.Name] = s.Reading.Schema.Columns()
		}
		for _, v := range s.Reading.Views {
			found.views[fmt.Sprintf("%s %s %s", s.Kind, s.Name, v.Name)] = v.State
		}
	}
	return found
}

func grantedConfig(t *testing.T, postgres, redis string) *Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rollwatch.yml")
	text := fmt.Sprintf(`
postgres:
  - {name: main, url: %q, migrations: [prisma, drizzle], tables: 5}
redis:
  - {name: main, url: %q}
queues:
  - {name: jobs, kind: bullmq, redis: main}
  - {name: mail, kind: asynq, redis: main}
`, postgres, redis)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	config, err := configLoader{file: file, lookup: os.LookupEnv}.load()
	require.NoError(t, err)
	return config
}

func asUser(t *testing.T, address string, user *url.Userinfo) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = user
	return u.String()
}
