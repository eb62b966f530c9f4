package verdict

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/alerts"
)

// A parade is the versions that a service showed, reading by reading: what a
// window would hold.
type parade struct {
	mu        sync.Mutex
	sightings []alerts.Sighting
	now       []string // what is shown from now on
	broken    error
}

// inParade runs a story on a judge that looks for versions by itself. The service
// has shown version 1 for two hours.
func inParade(t *testing.T, story func(t *testing.T, w *world, p *parade)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		w.stop()
		p := &parade{now: []string{"1"}}
		for at := time.Now().Add(-2 * time.Hour); at.Before(time.Now()); at = at.Add(tick) {
			p.sightings = append(p.sightings, alerts.Sighting{At: at.UTC(), Versions: p.now})
		}
		w.opts.Services[0].Detect = &alerts.Detect{Strategy: alerts.Canary}
		w.opts.Sight = p.sight
		w.start()
		story(t, w, p)
	})
}

// sight adds what is shown at the end of the span, as the newest scrape would.
func (p *parade) sight(_ context.Context, _ alerts.Scene, span alerts.Span) ([]alerts.Sighting, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return nil, p.broken
	}
	if last := p.sightings[len(p.sightings)-1].At; len(p.now) > 0 && span.To.Sub(last) >= tick {
		p.sightings = append(p.sightings, alerts.Sighting{At: span.To, Versions: p.now})
	}
	var in []alerts.Sighting
	for _, s := range p.sightings {
		if s.At.After(span.From) && !s.At.After(span.To) {
			in = append(in, s)
		}
	}
	return in, nil
}

// show sets the versions that the service shows from the next reading on.
func (p *parade) show(versions ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = versions
}

// breakWith has the readings fail from now on; nil: not any more.
func (p *parade) breakWith(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = err
}

// onRecord are the rollouts, oldest first, as kind previous>version.
func (w *world) onRecord() []string {
	w.t.Helper()
	all, _, err := w.engine.Rollouts(w.t.Context(), "", Page{})
	require.NoError(w.t, err)
	told := []string{}
	for _, r := range slices.Backward(all) {
		text := string(r.Kind) + " " + r.PreviousVersion + ">" + r.Version
		if r.Detected {
			text = "detected " + text
		}
		told = append(told, text)
	}
	return told
}

func (w *world) registerVersion(version string) (Rollout, bool) {
	w.t.Helper()
	r, created, err := w.engine.Register(w.t.Context(), Registration{Service: "api", Version: version, Strategy: alerts.Rolling, Commit: "c0ffee"}, "key-of-"+version)
	require.NoError(w.t, err)
	return r, created
}

func TestAVersionThatNobodyToldOfIsRegistered(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		w.pass(time.Hour)
		require.Empty(t, w.onRecord(), "what always was there is no news")
		p.show("1", "2")
		w.pass(tick)
		require.Empty(t, w.onRecord(), "one reading may be a mistake")
		before := time.Now().UTC()
		w.pass(tick)
		require.Equal(t, []string{"detected deploy 1>2"}, w.onRecord())
		all, _, err := w.engine.Rollouts(t.Context(), "api", Page{})
		require.NoError(t, err)
		require.Equal(t, before.Add(-tick), all[0].StartedAt, "after the reading before the first that showed it")
		doc := w.verdict(all[0].ID)
		require.True(t, doc.Detected)
		require.Equal(t, alerts.Canary, doc.Strategy)
		require.Equal(t, Continue, doc.Verdict)

		p.show("2")
		w.pass(10 * time.Minute)
		w.restart()
		w.pass(3 * time.Hour)
		require.Equal(t, []string{"detected deploy 1>2"}, w.onRecord(), "once is enough, whatever ends and begins anew")
		p.show("3")
		w.pass(2 * tick)
		require.Equal(t, []string{"detected deploy 1>2", "detected deploy 2>3"}, w.onRecord())
	})
}

func TestAVersionThatIsSeenOnceIsNone(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		w.pass(tick)
		p.show("<html>")
		w.pass(tick)
		p.show("1")
		w.pass(2 * time.Hour)
		p.show("1", "2\x1b[2J")
		w.pass(time.Minute)
		require.Empty(t, w.onRecord(), "nor is what cannot be shown")
	})
}

func TestAServiceThatIsSeenForTheFirstTimeIsNoRollout(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		p.show()
		w.pass(2 * time.Hour) // nothing answers
		p.show("2")
		w.pass(time.Hour)
		require.Empty(t, w.onRecord(), "what was before it is not known any more")
	})
}

func TestWhatAToolRegisteredIsNotDetectedAgain(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		w.registerVersion("2")
		w.pass(7 * time.Minute) // it builds up
		p.show("1", "2")
		w.pass(20 * time.Minute)
		p.show("2")
		w.pass(4 * time.Hour)
		require.Equal(t, []string{"deploy >2"}, w.onRecord())
	})
}

func TestAToolMayCallAVersionOtherwise(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		r, _ := w.registerVersion("v2.0.0")
		w.pass(time.Minute)
		p.show("sha-2")
		w.pass(6 * time.Minute)
		_, err := w.engine.Finish(t.Context(), r.ID, Promoted)
		require.NoError(t, err)
		w.restart()
		w.pass(2 * time.Hour)
		require.Equal(t, []string{"deploy >v2.0.0"}, w.onRecord())
	})
}

func TestTheToolThatComesLateAdoptsWhatWasDetected(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		w.pass(tick)
		p.show("2")
		w.pass(4 * time.Minute)
		require.Equal(t, []string{"detected deploy 1>2"}, w.onRecord())
		r, created := w.registerVersion("2")
		require.False(t, created)
		require.Equal(t, []string{"deploy 1>2"}, w.onRecord())
		require.Equal(t, "c0ffee", r.Commit)
		require.Equal(t, alerts.Rolling, r.Strategy, "the tool knows")
		require.Empty(t, r.Notes, "what was said of a canary is not of this")
		require.Equal(t, "b", r.Baseline.ID)
		again, created := w.registerVersion("2")
		require.False(t, created)
		require.Equal(t, r.ID, again.ID, "its key is kept")

		w.restart()
		w.pass(tick)
		doc := w.verdict(r.ID)
		require.Equal(t, alerts.Rolling, doc.Strategy)
		require.False(t, doc.Detected)
		w.pass(30 * time.Minute)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict, "a canary would have been promoted by now")
		require.Equal(t, []string{"deploy 1>2"}, w.onRecord())
	})
}

func TestAToolThatComesMuchLaterBeginsAnew(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		w.pass(tick)
		p.show("2")
		w.pass(15 * time.Minute)
		_, created := w.registerVersion("2")
		require.True(t, created)
		w.pass(2 * time.Hour)
		require.Equal(t, []string{"detected deploy 1>2", "deploy >2"}, w.onRecord())
	})
}

func TestALabelThatIsNoVersionIsSaidOnceAndNotAtEachTick(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		core, logs := observer.New(zap.InfoLevel)
		w.stop()
		w.opts.Log = zap.New(core)
		w.start()
		said := func() int { return logs.FilterMessage("cannot look for new versions").Len() }
		for i := range 20 { // the id of a process, of which there are more at each tick
			p.show("1", fmt.Sprintf("pid-%d", i))
			w.pass(2 * tick)
		}
		w.pass(10 * time.Minute)
		require.Equal(t, 1, said())
		p.show("1")
		w.pass(2 * time.Hour)
		require.Equal(t, 1, said())
		p.breakWith(errors.New("the window is away"))
		w.pass(time.Minute)
		require.Equal(t, 2, said(), "that is something else")
		p.breakWith(nil)
		w.pass(time.Minute)
		p.breakWith(errors.New("the window is away"))
		w.pass(time.Minute)
		require.Equal(t, 3, said(), "it was well between")
	})
}

func TestTheWayBackIsDetectedToo(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		w.pass(tick)
		p.show("1", "2")
		w.pass(5 * time.Minute)
		p.show("1")
		w.pass(time.Minute)
		require.Equal(t, []string{"detected deploy 1>2"}, w.onRecord(), "a minute without it may be chance")
		w.pass(time.Minute + tick)
		require.Equal(t, []string{"detected deploy 1>2", "detected rollback 2>1"}, w.onRecord())
		w.restart()
		w.pass(20 * time.Minute)
		p.show("2")
		w.pass(3 * time.Minute)
		require.Equal(t, []string{"detected deploy 1>2", "detected rollback 2>1", "detected deploy 1>2"}, w.onRecord(), "it is tried again")
	})
}

func TestABalancerThatAnswersForBothIsNoWayBack(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		w.pass(tick)
		for i := range 400 {
			p.show("1")
			if i%6 == 0 {
				p.show("2")
			}
			w.pass(tick)
		}
		require.Equal(t, []string{"detected deploy 1>2"}, w.onRecord())
	})
}

func TestAWayBackThatTheToolToldOfIsNotDetected(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		r, _ := w.registerVersion("2")
		p.show("2")
		w.pass(5 * time.Minute)
		p.show("1")
		w.pass(time.Minute)
		_, err := w.engine.Finish(t.Context(), r.ID, RolledBack)
		require.NoError(t, err)
		w.pass(time.Hour)
		require.Equal(t, []string{"deploy >2"}, w.onRecord())
	})
}

func TestAWindowThatCannotBeReadCostsTheJudgementNothing(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		r, _ := w.registerVersion("2")
		p.breakWith(errors.New("window is away"))
		w.pass(time.Hour)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict)
		p.breakWith(nil)
		p.show("3")
		w.pass(2 * tick)
		require.Equal(t, []string{"deploy >2"}, w.onRecord(), "it may be what the tool calls 2")
	})
}

func TestATriedVersionThatIsTriedAgainIsNotTakenForGone(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		r, _ := w.registerVersion("2")
		p.show("2")
		w.pass(5 * time.Minute)
		p.show("1")
		w.pass(time.Minute)
		_, err := w.engine.Finish(t.Context(), r.ID, Aborted)
		require.NoError(t, err)
		w.pass(5 * time.Minute)
		_, _, err = w.engine.Register(t.Context(), Registration{Service: "api", Version: "2", PreviousVersion: "1", Strategy: alerts.Rolling}, "")
		require.NoError(t, err)
		w.pass(10 * time.Minute) // its pods wait for an image
		require.Equal(t, []string{"deploy >2", "deploy 1>2"}, w.onRecord())
		p.show("1", "2")
		w.pass(time.Minute)
		p.show("1")
		w.pass(3 * time.Minute)
		require.Equal(t, []string{"deploy >2", "deploy 1>2", "detected rollback 2>1"}, w.onRecord())
	})
}

func TestALabelThatTellsNoVersionRegistersNothingWithoutEnd(t *testing.T) {
	inParade(t, func(t *testing.T, w *world, p *parade) {
		w.pass(tick)
		for i := range 300 {
			p.show("1", string(rune('A'+i/2)))
			w.pass(tick)
		}
		require.LessOrEqual(t, len(w.onRecord()), 10+1)
	})
}

func TestARegistrationThatTakesItsTimeKeepsNoVerdictWaiting(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		other := w.register(alerts.Rolling)
		w.stop()
		shop := w.opts.Services[1]
		shop.Detect = &alerts.Detect{Strategy: alerts.Rolling}
		p := &parade{now: []string{"1"}, sightings: []alerts.Sighting{{At: time.Now().UTC().Add(-tick), Versions: []string{"1"}}}}
		w.opts.Sight = p.sight
		w.opts.TakeBaseline = func(ctx context.Context, gates []alerts.Gate, scene alerts.Scene, not []alerts.Span) (alerts.Baseline, error) {
			<-time.After(8 * time.Second)
			return w.takeBaseline(ctx, gates, scene, not)
		}
		p.show("1", "2")
		w.start()
		w.pass(tick)
		require.Len(t, w.onRecord(), 1, "the baseline is still being taken")
		require.Equal(t, time.Now().UTC(), w.verdict(other.ID).AsOf, "and the other service was judged meanwhile")
		w.pass(8 * time.Second)
		require.Contains(t, w.onRecord(), "detected deploy 1>2")
	}, "api", "shop")
}
