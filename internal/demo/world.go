// Package demo is the embedded world of `rollwatch demo`: the servers found on
// the machine, an example service with a stable and a canary version under
// steady traffic, workers taking jobs, and a webhook receiver that checks
// signatures. Everything in it is real and small, listens on loopback, and is
// gone when the demo ends; rollwatch itself runs beside it with the code and
// the configuration that everybody uses.
package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ServiceName is the example service's name in the configuration.
const ServiceName = "shop"

// A World is everything that the demo starts around rollwatch.
type World struct {
	dir     string
	servers []string // what was started, for the story
	missing []string // what the machine has not, said plainly

	postgresURL string // empty without PostgreSQL
	redisAddr   string

	database *pgxpool.Pool
	stable   *service
	canary   *service
	receiver *receiver

	canaryURL atomic.Pointer[string] // nil until the rollout
	closers   []func() error
	stop      context.CancelFunc
}

// Start starts the world in a temporary folder of its own. Close ends it, also
// after an error.
func Start(ctx context.Context) (*World, error) {
	ctx, stop := context.WithCancel(ctx)
	w := &World{stop: stop}
	for _, step := range []func(context.Context) error{
		w.makeFolder, w.startServers, w.startServices, w.startTraffic, w.writeConfig,
	} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

// Close ends everything, the newest first, and removes the folder.
func (w *World) Close() error {
	w.stop()
	var errs []error
	for _, end := range slices.Backward(w.closers) {
		errs = append(errs, end())
	}
	w.closers = nil
	return errors.Join(errs...)
}

// ConfigFile is the configuration for rollwatch beside this world. It goes with
// the world, and so does the data_dir it names.
func (w *World) ConfigFile() string { return filepath.Join(w.dir, "rollwatch.yml") }

// onClose registers the end of what was just started.
func (w *World) onClose(f func() error) { w.closers = append(w.closers, f) }

// makeFolder makes the folder that everything is kept in.
func (w *World) makeFolder(context.Context) error {
	dir, err := os.MkdirTemp("", "rollwatch-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	w.dir = dir
	w.onClose(func() error { return os.RemoveAll(dir) })
	return nil
}

// startServices starts the stable version, prepares the canary (which takes no
// traffic yet), and the webhook receiver.
func (w *World) startServices(ctx context.Context) error {
	if err := w.openDatabase(ctx); err != nil {
		return err
	}
	for version, at := range map[string]**service{versionOld: &w.stable, versionNew: &w.canary} {
		s, err := startService(version, w.database)
		if err != nil {
			return err
		}
		*at = s
		w.onClose(s.close)
	}
	r, err := startReceiver()
	if err != nil {
		return err
	}
	w.receiver = r
	w.onClose(r.close)
	return os.WriteFile(w.secretFile(), []byte(r.secret), 0o600)
}

// openDatabase prepares the example's one table.
func (w *World) openDatabase(ctx context.Context) error {
	if w.postgresURL == "" {
		return nil
	}
	pool, err := pgxpool.New(ctx, w.postgresURL+"&application_name=shop&pool_max_conns=4")
	if err != nil {
		return fmt.Errorf("example database: %w", err)
	}
	w.database = pool
	w.onClose(func() error { pool.Close(); return nil })
	_, err = pool.Exec(ctx, "create table orders (id bigserial primary key, version text not null, at timestamptz default now())")
	if err != nil {
		return fmt.Errorf("example database: %w", err)
	}
	return nil
}

// startTraffic lets the users and the workers in.
func (w *World) startTraffic(ctx context.Context) error {
	mail, err := startMailroom(ctx, w.redisAddr)
	if err != nil {
		return err
	}
	w.onClose(mail.close)
	users := startCrowd(ctx, w.stable.url, w.canaryURL.Load)
	w.onClose(func() error { users.wait(); return nil })
	return nil
}

// rollOutCanary gives the canary its share of the traffic.
func (w *World) rollOutCanary() { w.canaryURL.Store(&w.canary.url) }

// secretFile holds the secret that rollwatch signs webhooks with.
func (w *World) secretFile() string { return filepath.Join(w.dir, "webhook-secret") }
