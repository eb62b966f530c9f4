package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// environment is a lookup in a map in place of the process's environment.
func environment(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := variables[name]; return value, ok }
}

// Each file in testdata/bad has one fault, or several, and begins with the
// lines that the loader must answer.
func TestABadFileIsRefusedWithEveryFault(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var want []string
			for line := range strings.Lines(string(text)) {
				if expected, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSuffix(expected, "\n"))
				}
			}
			_, err = configLoader{file: file, lookup: environment(nil)}.load()
			require.Error(t, err)
			var faulty *faultyError
			require.ErrorAs(t, err, &faulty)
			got := strings.ReplaceAll(faulty.Error(), file+":", "")
			require.Equal(t, strings.Join(want, "\n"), got)
			require.NotContains(t, got, "hunter2")
		})
	}
}

const contractFile = "testdata/rollwatch.yml"

func TestTheContractFileLoadsAsItStands(t *testing.T) {
	c, err := configLoader{file: contractFile, lookup: environment(nil)}.load()
	require.NoError(t, err)
	require.Equal(t, []string{
		"postgres main: left out: its address is empty (DATABASE_URL)",
		"postgres replica: left out: its address is empty (REPLICA_URL)",
		"pgbouncer pool: left out: its address is empty (PGBOUNCER_URL)",
		"services[0].metrics.scrape[1]: left out: its address is empty (CANARY_URL)",
		"services api: databases: main is left out of it: postgres main is left out",
		"services web: left out: none of its addresses is set (WEB_URL)",
		"webhooks deployer: left out: its address is empty (WEBHOOK_URL)",
	}, c.Notices)
}

func TestTheContractFileWithEverythingSet(t *testing.T) {
	c, err := configLoader{file: contractFile, lookup: environment(map[string]string{
		"DATABASE_URL": "postgres://u:hunter2@127.0.0.1/app", "REPLICA_URL": "postgres://u:hunter2@127.0.0.1:5433/app",
		"PGBOUNCER_URL": "postgres://u:hunter2@127.0.0.1:6432/pgbouncer", "REDIS_PASSWORD_FILE": "/run/secrets/redis",
		"CANARY_URL": "http://127.0.0.1:3002/metrics", "WEB_URL": "http://127.0.0.1:3003/health",
		"WEBHOOK_URL": "https://127.0.0.1/hook", "WEBHOOK_SECRET_FILE": "testdata/webhook-secret", "ROLLWATCH_DATA_DIR": "/var/lib/rollwatch",
	})}.load()
	require.NoError(t, err)
	require.Len(t, c.Targets, 7)
	require.Len(t, c.Services, 2)
	require.Len(t, c.Services[0].Metrics.Scrape, 2)
	require.Equal(t, "/var/lib/rollwatch", c.DataDir)
	require.False(t, c.Targets[1].Config.RequiredTarget())
	require.Empty(t, c.Notices)
}

// What print writes must load again and print the same, and hold no secret.
func TestPrintedConfigurationLoadsAgain(t *testing.T) {
	c, err := configLoader{file: contractFile, lookup: environment(map[string]string{
		"DATABASE_URL": "postgres://u:hunter2@127.0.0.1/app", "WEB_URL": "http://127.0.0.1:3003/health",
	})}.load()
	require.NoError(t, err)
	var first, second bytes.Buffer
	c.Services[0].Features[0].HTTP.URL = "http://127.0.0.1/${not}$${a}$variable"
	require.NoError(t, c.print(&first))
	require.NotContains(t, first.String(), "hunter2")

	// A mask is no address: the reader puts the secrets back.
	whole := strings.Replace(first.String(), "url: <secret>", "url: postgres://u:hunter2@127.0.0.1/app", 1)
	whole = strings.Replace(whole, "url: <secret>", "url: redis://127.0.0.1:6379/0", 1)
	file := filepath.Join(t.TempDir(), "printed.yml")
	require.NoError(t, os.WriteFile(file, []byte(whole), 0o600))
	again, err := configLoader{file: file, lookup: environment(nil)}.load()
	require.NoError(t, err, whole)
	require.NoError(t, again.print(&second))
	require.Equal(t, first.String(), second.String())
	require.Len(t, again.Targets, len(c.Targets))
	require.Equal(t, c.Services, again.Services)
	require.Equal(t, c.Sections.Judge, again.Sections.Judge)
}

func TestTheEnvironmentAloneIsEnough(t *testing.T) {
	type variables = map[string]string
	for name, test := range map[string]struct {
		environment variables
		want        []string // kind, name and address of each target
	}{
		"two URLs": {
			variables{"DATABASE_URL": "postgres://u:p@db/app", "REDIS_URL": "redis://cache:6379/1"},
			[]string{"postgres main postgresql://u@db:5432/app", "redis main redis://cache:6379/1", "bullmq bullmq redis:main/bull:*", "asynq asynq redis:main/asynq:*"},
		},
		"a Redis in parts": {
			variables{"REDIS_HOST": "cache", "REDIS_PORT": "6380", "REDIS_PASSWORD": "p"},
			[]string{"redis main redis://cache:6380/0", "bullmq bullmq redis:main/bull:*", "asynq asynq redis:main/asynq:*"},
		},
		"production uses TLS": {
			variables{"REDIS_HOST": "cache", "NODE_ENV": "production"},
			[]string{"redis main rediss://cache:6379/0", "bullmq bullmq redis:main/bull:*", "asynq asynq redis:main/asynq:*"},
		},
		"unless the URL says otherwise": {
			variables{"REDIS_URL": "redis://cache", "NODE_ENV": "production"},
			[]string{"redis main redis://cache:6379/0", "bullmq bullmq redis:main/bull:*", "asynq asynq redis:main/asynq:*"},
		},
		"a Redis of its own for BullMQ": {
			variables{"REDIS_HOST": "cache", "BULL_REDIS_HOST": "jobs"},
			[]string{"redis main redis://cache:6379/0", "redis bull redis://jobs:6379/0", "bullmq bullmq redis:main/bull:*", "bullmq bull redis:bull/bull:*", "asynq asynq redis:main/asynq:*"},
		},
		"the same Redis named twice": {
			variables{"REDIS_HOST": "cache", "BULL_REDIS_HOST": "cache", "BULL_REDIS_PORT": "6379"},
			[]string{"redis main redis://cache:6379/0", "bullmq bullmq redis:main/bull:*", "asynq asynq redis:main/asynq:*"},
		},
		"only BullMQ's": {
			variables{"BULL_REDIS_HOST": "jobs"},
			[]string{"redis bull redis://jobs:6379/0", "bullmq bull redis:bull/bull:*"},
		},
		"Unleash": {
			variables{"UNLEASH_URL": "http://unleash:4242/api", "UNLEASH_API_KEY": "k"},
			[]string{"flags unleash http://unleash:4242/api"},
		},
		"flags in Redis": {
			variables{"REDIS_HOST": "cache", "FEATURE_FLAGS_PROVIDER": "redis", "UNLEASH_URL": "http://unleash:4242/api"},
			[]string{"redis main redis://cache:6379/0", "bullmq bullmq redis:main/bull:*", "asynq asynq redis:main/asynq:*", "flags redis redis:main"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := configLoader{lookup: environment(test.environment)}.load()
			require.NoError(t, err)
			var got []string
			for _, target := range c.Targets {
				got = append(got, target.Kind.Name+" "+target.Config.TargetName()+" "+target.Config.Address())
			}
			require.ElementsMatch(t, test.want, got)
		})
	}
}

func TestProductionAsksPostgresForTLS(t *testing.T) {
	for given, want := range map[string]string{
		"postgres://u@db/app":                      "postgres://u@db/app?sslmode=require",
		"postgres://u@db/app?schema=public":        "postgres://u@db/app?schema=public&sslmode=require",
		"postgres://u@db/app?sslmode=disable":      "postgres://u@db/app?sslmode=disable",
		"host=db user=u dbname=app":                "host=db user=u dbname=app sslmode=require",
		"host=db user=u dbname=app sslmode=prefer": "host=db user=u dbname=app sslmode=prefer",
	} {
		got, _ := stackVariables{environment(map[string]string{"DATABASE_URL": given, "NODE_ENV": "production"})}.lookup("DATABASE_URL")
		require.Equal(t, want, got)
	}
}

func TestAnEmptyEnvironmentSaysWhatToSet(t *testing.T) {
	_, err := configLoader{lookup: environment(nil)}.load()
	require.ErrorContains(t, err, "environment: nothing to watch; set DATABASE_URL or REDIS_URL, or name a file with --config.file")
}

// FuzzConfig loads what may be in a file: faults or a configuration that can be
// printed, never a panic.
func FuzzConfig(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.yml")
	for _, file := range append(files, contractFile) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 8<<10 {
			return // slow, and nothing new
		}
		file := filepath.Join(dir, "rollwatch.yml")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := configLoader{file: file, lookup: environment(map[string]string{"A": "1"})}.load()
		if err != nil {
			return
		}
		var out bytes.Buffer
		require.NoError(t, c.print(&out))
	})
}
