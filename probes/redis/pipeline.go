package redis

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// MaxPipeline is the most commands sent before their answers are read: what a
// server must hold for us at once, and the longest that others wait behind us.
const MaxPipeline = 500

// A Piper can send a plain pipeline (no MULTI): a client or a connection.
type Piper interface {
	Pipeline() goredis.Pipeliner
}

// Pipelined queues the commands of all items, at most perItem for each, and
// sends them in pipelines of at most MaxPipeline commands. An error means that
// the server did not answer or does not serve (it is loading, its master is
// gone, it wants a password); what it answered to one command is in the command.
func Pipelined[T any](ctx context.Context, client Piper, perItem int, items []T, queue func(goredis.Pipeliner, T)) error {
	for chunk := range slices.Chunk(items, max(1, MaxPipeline/perItem)) {
		pipe := client.Pipeline()
		for _, item := range chunk {
			queue(pipe, item)
		}
		if err := Exec(ctx, pipe); err != nil {
			return err
		}
	}
	return nil
}

// Exec sends what is queued, if anything is. The error is as that of Pipelined.
func Exec(ctx context.Context, pipe goredis.Pipeliner) error {
	if pipe.Len() == 0 {
		return nil
	}
	cmds, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && (!replied(err) || unserved(err)) {
			return err
		}
	}
	return nil
}

// Batches are the items in groups of at most size whose keys one command may
// name together: in a cluster, those of one hash tag.
func Batches[T any](client goredis.UniversalClient, items []T, size int, key func(T) string) iter.Seq[[]T] {
	if _, cluster := client.(*goredis.ClusterClient); !cluster {
		return slices.Chunk(items, size)
	}
	byTag := map[string][]T{}
	for _, item := range items {
		tag := hashTag(key(item))
		byTag[tag] = append(byTag[tag], item)
	}
	return func(yield func([]T) bool) {
		for _, group := range byTag {
			for batch := range slices.Chunk(group, size) {
				if !yield(batch) {
					return
				}
			}
		}
	}
}

// hashTag is the part of a key that decides where in a cluster it lives: what
// stands between its first braces, or all of it.
func hashTag(key string) string {
	_, rest, open := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if !open || !closed || tag == "" {
		return key
	}
	return tag
}

// replied says that err is the server's answer, not its silence.
func replied(err error) bool {
	var reply goredis.Error
	return errors.As(err, &reply)
}

// unserved says that the answer holds for whatever is asked of the server now.
func unserved(err error) bool {
	return goredis.IsLoadingError(err) || goredis.IsMasterDownError(err) ||
		goredis.IsClusterDownError(err) || goredis.IsAuthError(err)
}

// Views gathers how the parts of one reading went. Each is read until one of
// its commands is answered otherwise.
type Views []probe.View

// NewViews starts a reading of these parts.
func NewViews(names ...string) Views {
	views := make(Views, len(names))
	for i, name := range names {
		views[i] = probe.View{Name: name, State: probe.ViewRead}
	}
	return views
}

// Note records the error of a command of the named part, if it is one (a key
// that does not exist is none), and says whether there is a value to use.
func (v Views) Note(name string, err error) bool {
	if err == nil {
		return true
	}
	if errors.Is(err, goredis.Nil) {
		return false
	}
	i := slices.IndexFunc(v, func(view probe.View) bool { return view.Name == name })
	if v[i].State == probe.ViewRead {
		v[i].State, v[i].Err = stateOf(err), fmt.Errorf("%s: %w", name, err)
	}
	return false
}

func stateOf(err error) probe.ViewState {
	switch {
	case goredis.IsPermissionError(err):
		return probe.ViewDenied
	case strings.HasPrefix(strings.ToLower(err.Error()), "err unknown command"), strings.HasPrefix(strings.ToLower(err.Error()), "err unknown subcommand"):
		return probe.ViewAbsent // a managed or older server
	default:
		return probe.ViewFailed
	}
}
