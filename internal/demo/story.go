package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// The story's pace. The windows it fits in are shortened by the configuration
// (config.go), never in the code that judges.
const (
	calm        = 15 * time.Second // healthy traffic before the rollout: its baseline
	honeymoon   = 8 * time.Second  // the canary is healthy that long
	badShare    = 20               // then this many percent of its orders fail
	patience    = 60 * time.Second // for the verdict and the webhook, from the rollout on
	versionOld  = "2.3.0"
	versionNew  = "2.4.0"
	wantVerdict = "rollback"
	wantGate    = "error_ratio"
)

// ErrUntold is returned when the story did not end as it must: with a rollback
// for the right reason and a webhook whose signature holds.
var ErrUntold = errors.New("the demo did not end as it must")

// Tell plays the story against a running rollwatch at server and tells it on
// out as it happens. It returns ErrUntold, wrapped with what went wrong, when
// the verdict or the webhook is not the right one.
func (w *World) Tell(ctx context.Context, out io.Writer, server string) error {
	n := newNarrator(out)
	judge := &client{base: server}

	if err := w.introduce(ctx, n, judge); err != nil {
		return err
	}
	n.sayf("traffic", "%d orders a second on %s %s; this is the baseline", ordersPerSecond, ServiceName, versionOld)
	if err := n.progress(ctx, calm, "healthy"); err != nil {
		return err
	}

	rollout, err := w.rollOut(ctx, n, judge)
	if err != nil {
		return err
	}
	time.AfterFunc(honeymoon, func() {
		w.canary.fail(badShare)
		n.sayf("fault", "%s now answers %d %% of its orders with 500", versionNew, badShare)
	})
	final, err := w.follow(ctx, n, judge, rollout)
	if err != nil {
		return err
	}
	return conclude(n, final)
}

// introduce waits until every target was read once, and names them.
func (w *World) introduce(ctx context.Context, n *narrator, judge *client) error {
	for _, server := range w.servers {
		n.sayf("started", "%s", server)
	}
	for _, missing := range w.missing {
		n.sayf("missing", "%s", missing)
	}
	if err := judge.ready(ctx); err != nil {
		return fmt.Errorf("rollwatch did not become ready: %w", err)
	}
	health, err := judge.health(ctx)
	if err != nil {
		return fmt.Errorf("read the health: %w", err)
	}
	for _, target := range slices.Sorted(maps.Keys(health.Details)) {
		n.sayf("reads", "%-16s %s", target, health.Details[target].Status)
	}
	return nil
}

// rollOut gives the canary its traffic and registers the rollout.
func (w *World) rollOut(ctx context.Context, n *narrator, judge *client) (string, error) {
	w.rollOutCanary()
	rollout, err := judge.register(ctx)
	if err != nil {
		return "", fmt.Errorf("register the rollout: %w", err)
	}
	n.sayf("rollout", "%s: %s %s -> %s as a canary with %.0f %% of the traffic",
		rollout, ServiceName, versionOld, versionNew, canaryShare*100)
	return rollout, nil
}

// follow tells verdicts and webhooks as they come, until the verdict is final
// and its webhook has arrived.
func (w *World) follow(ctx context.Context, n *narrator, judge *client, rollout string) (document, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ask := time.NewTicker(time.Second)
	defer ask.Stop()
	var newest document
	for hooked := false; !newest.Final || !hooked; {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return newest, ctx.Err()
			}
			return newest, fmt.Errorf("%w: after %s the verdict is %q, and its webhook has arrived: %t", ErrUntold, patience, newest.Verdict, hooked)
		case got := <-w.receiver.hooks:
			if !got.Verified {
				return newest, fmt.Errorf("%w: the signature of webhook %s does not hold", ErrUntold, got.ID)
			}
			n.sayf("webhook", "%s says %s (%s), signature verified", got.Type, got.Verdict, got.ID)
			hooked = hooked || got.Rollout == rollout && got.Verdict == wantVerdict
		case <-ask.C:
			newest = n.tell(ctx, judge, newest, rollout)
		}
	}
	return newest, nil
}

// tell asks for the verdict and tells it where it changed.
func (n *narrator) tell(ctx context.Context, judge *client, before document, rollout string) document {
	now, err := judge.verdict(ctx, rollout)
	switch {
	case err != nil:
		n.sayf("waiting", "%v", err)
		return before
	case now.Verdict != before.Verdict:
		n.sayf("verdict", "%s: %s", strings.ToUpper(now.Verdict), now.Progress)
	default:
		n.bar(now.Percent, now.Phase+"  "+now.Progress)
	}
	return now
}

// conclude checks the ending: the right verdict, for the right reason.
func conclude(n *narrator, final document) error {
	if final.Verdict != wantVerdict {
		return fmt.Errorf("%w: the verdict is %q, not %q", ErrUntold, final.Verdict, wantVerdict)
	}
	for _, reason := range final.Reasons {
		n.sayf("reason", "%s is %s: %s", reason.Gate, reason.State, reason.Message)
	}
	if len(final.Reasons) == 0 || final.Reasons[0].Gate != wantGate || final.Reasons[0].State != "firing" {
		return fmt.Errorf("%w: the reason is not that %s fires", ErrUntold, wantGate)
	}
	if final.Action != nil {
		n.sayf("advice", "%s %s%s", final.Action.Kind, final.Action.Image, final.Action.Flag)
	}
	return nil
}

// pause waits for d, or for the end of ctx, which is the error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
