package verdict

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

func openLedger(t *testing.T, path string) *Ledger {
	t.Helper()
	l, err := OpenLedger(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func newLedger(t *testing.T) *Ledger {
	t.Helper()
	return openLedger(t, filepath.Join(t.TempDir(), "ledger.db"))
}

func sampleRollout(service string) Rollout {
	return Rollout{
		ID:           "r-20261123-1200-" + service,
		Registration: Registration{Service: service, Version: "2.4.0", Strategy: alerts.Canary, Kind: Deploy, StartedAt: noon, Labels: map[string]string{"team": "a"}},
		RegisteredAt: noon.Add(time.Second),
		Baseline:     alerts.Baseline{ID: "b1", Kind: "before", Requests: 1000, Errors: 2},
	}
}

func sampleTransition(r Rollout, seq int64, owedTo ...string) transition {
	r.Seq, r.Verdict = seq, Continue
	return transition{
		rollout: r, event: newID("evt"), typ: VerdictChanged, payload: []byte(`{"type":"verdict.changed"}`), owedTo: owedTo,
		document: Document{Rollout: r.ID, Verdict: Continue, Seq: seq, AsOf: noon},
	}
}

func TestLedgerKeepsWhatHappenedOverARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "with space & ?mode=memory#", "ledger.db")
	l, err := OpenLedger(path)
	require.NoError(t, err)
	r, err := l.register(t.Context(), registration{rollout: sampleRollout("api"), key: "k", request: "h"})
	require.NoError(t, err)
	weight := 25.0
	require.NoError(t, l.addStage(t.Context(), r.ID, Stage{At: noon, Weight: &weight, Note: "a quarter"}))
	change := sampleTransition(r, 1, "deployer", "chat")
	change.override = &Override{Verdict: HoldOn, Reason: "wait", Author: "ada", At: noon, Until: noon.Add(time.Hour)}
	change.rollout.Latched, change.rollout.LatchedAt = Promote, noon
	require.NoError(t, l.record(t.Context(), change))
	require.NoError(t, l.Close())

	l = openLedger(t, path)
	got, err := l.rollout(t.Context(), r.ID)
	require.NoError(t, err)
	want := change.rollout
	want.Override = change.override
	want.Stages = []Stage{{At: noon, Weight: &weight, Note: "a quarter"}}
	require.Equal(t, want, got)
	doc, ok, err := l.lastDocument(t.Context(), r.ID)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, change.document.Seq, doc.Seq)
	owed, _, err := l.deliveries(t.Context(), Page{})
	require.NoError(t, err)
	require.Len(t, owed, 2)
	require.Equal(t, change.event, owed[0].Event)
	require.Equal(t, change.event, owed[1].Event)
	require.Equal(t, change.payload, owed[0].Payload)
	same, known, err := l.byKey(t.Context(), "k", "h")
	require.NoError(t, err)
	require.True(t, known)
	require.Equal(t, r.ID, same.ID)

	for _, side := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + side)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), side)
	}
}

func TestLedgerTakesATransitionWholeOrNotAtAll(t *testing.T) {
	l := newLedger(t)
	r, err := l.register(t.Context(), registration{rollout: sampleRollout("api")})
	require.NoError(t, err)
	require.NoError(t, l.record(t.Context(), sampleTransition(r, 1, "deployer")))

	again := sampleTransition(r, 1, "deployer")
	again.rollout.Verdict = Rollback
	require.Error(t, l.record(t.Context(), again), "a sequence number is taken once")

	got, err := l.rollout(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, Continue, got.Verdict)
	owed, err := l.CountOwed(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, owed)
}

func TestLedgerSaysWhatIsWrongWithItsFile(t *testing.T) {
	dir := t.TempDir()
	t.Run("not a database", func(t *testing.T) {
		path := filepath.Join(dir, "text.db")
		require.NoError(t, os.WriteFile(path, []byte("this was never a database, but it is long enough to be taken for one ...................................................."), 0o600))
		_, err := OpenLedger(path)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "restore a backup, or move the file aside")
	})
	t.Run("damaged pages", func(t *testing.T) {
		path := filepath.Join(dir, "damaged.db")
		l, err := OpenLedger(path)
		require.NoError(t, err)
		for i := range 200 {
			_, err := l.register(t.Context(), registration{rollout: sampleRollout(fmt.Sprint("service-", i))})
			require.NoError(t, err)
		}
		require.NoError(t, l.Close())
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for i := 4096; i < len(text); i += 3 {
			text[i] ^= 0x5a
		}
		require.NoError(t, os.WriteFile(path, text, 0o600))
		_, err = OpenLedger(path)
		require.ErrorContains(t, err, "is damaged")
		require.ErrorContains(t, err, path)
	})
	t.Run("newer schema", func(t *testing.T) {
		path := filepath.Join(dir, "newer.db")
		l, err := OpenLedger(path)
		require.NoError(t, err)
		_, err = l.write.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		_, err = OpenLedger(path)
		require.ErrorContains(t, err, "newer rollwatch (schema 99999")
		require.ErrorContains(t, err, path)
	})
	t.Run("a folder in its place", func(t *testing.T) {
		_, err := OpenLedger(dir)
		require.ErrorContains(t, err, dir)
	})
}

func TestFullDiskIsSaidAndLosesNothing(t *testing.T) {
	l := newLedger(t)
	r, err := l.register(t.Context(), registration{rollout: sampleRollout("api")})
	require.NoError(t, err)
	fillDisk(t, l.write)
	change := sampleTransition(r, 1, "deployer")
	change.payload = make([]byte, 1<<20)
	require.ErrorContains(t, l.record(t.Context(), change), "the disk is full")
	got, err := l.rollout(t.Context(), r.ID)
	require.NoError(t, err)
	require.Equal(t, r.ID, got.ID)
	require.Zero(t, got.Seq)

	makeRoom(t, l.write)
	require.NoError(t, l.record(t.Context(), change))
}

// fillDisk lets the file grow no more, which SQLite answers as it does a full disk.
func fillDisk(t *testing.T, db *sql.DB) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), "PRAGMA max_page_count = 1")
	require.NoError(t, err)
}

func makeRoom(t *testing.T, db *sql.DB) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), "PRAGMA max_page_count = 4294967294")
	require.NoError(t, err)
}

func TestIDsAndSuperseding(t *testing.T) {
	l := newLedger(t)
	var ids []string
	for range 3 {
		r, err := l.register(t.Context(), registration{rollout: sampleRollout("api")})
		require.NoError(t, err)
		ids = append(ids, r.ID)
	}
	require.Equal(t, []string{"r-20261123-1200-api", "r-20261123-1200-api-2", "r-20261123-1200-api-3"}, ids)
	first, err := l.rollout(t.Context(), ids[0])
	require.NoError(t, err)
	require.Equal(t, ids[1], first.SupersededBy)
	newest, err := l.newest(t.Context(), "api")
	require.NoError(t, err)
	require.Equal(t, ids[2], newest.ID)
	require.Empty(t, newest.SupersededBy)
}

func TestPages(t *testing.T) {
	l := newLedger(t)
	for _, service := range []string{"api", "web", "api", "api"} {
		_, err := l.register(t.Context(), registration{rollout: sampleRollout(service)})
		require.NoError(t, err)
	}
	var seen []string
	page := Page{Limit: 2}
	for {
		found, next, err := l.rollouts(t.Context(), "api", page)
		require.NoError(t, err)
		for _, r := range found {
			seen = append(seen, r.ID)
		}
		if next == "" {
			break
		}
		page.Cursor = next
	}
	require.Equal(t, []string{"r-20261123-1200-api-3", "r-20261123-1200-api-2", "r-20261123-1200-api"}, seen)
	_, _, err := l.rollouts(t.Context(), "", Page{Cursor: "x'"})
	require.Equal(t, "cursor", err.(*Error).Field)
}

func TestBaselineLeavesOutTimesOfRolledBackRollouts(t *testing.T) {
	l := newLedger(t)
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	for i, minutes := range []int{0, 30, 60} {
		r := sampleRollout("api")
		r.StartedAt = at(minutes)
		r, err := l.register(t.Context(), registration{rollout: r})
		require.NoError(t, err)
		change := sampleTransition(r, 1)
		if i != 1 {
			change.rollout.Latched = Rollback
		}
		if i == 2 {
			change.rollout.FinishedAt = at(65)
		}
		require.NoError(t, l.record(t.Context(), change))
	}
	spans, err := l.spansNotToLearnFrom(t.Context(), "api", noon.Add(-time.Hour), at(90))
	require.NoError(t, err)
	require.Equal(t, []alerts.Span{{From: at(0), To: at(30)}, {From: at(60), To: at(65)}}, spans)
}

func TestForgettingKeepsTheNewestAndWhatIsOwed(t *testing.T) {
	l := newLedger(t)
	var ids []string
	for i := range 4 {
		r, err := l.register(t.Context(), registration{rollout: sampleRollout("api"), key: fmt.Sprint(i), request: "h"})
		require.NoError(t, err)
		ids = append(ids, r.ID)
		var owedTo []string
		if i == 1 {
			owedTo = []string{"deployer"}
		}
		change := sampleTransition(r, 1, owedTo...)
		change.rollout.Final = i != 2
		require.NoError(t, l.record(t.Context(), change))
	}
	require.NoError(t, l.forget(t.Context(), noon.Add(time.Hour)))
	left, _, err := l.rollouts(t.Context(), "", Page{})
	require.NoError(t, err)
	var kept []string
	for _, r := range left {
		kept = append(kept, r.ID)
	}
	require.Equal(t, []string{ids[3], ids[2], ids[1]}, kept, "the newest, the one under watch, the one with a delivery owed")
	_, known, err := l.byKey(t.Context(), "0", "h")
	require.NoError(t, err)
	require.False(t, known)
}

func TestDeliveriesOwed(t *testing.T) {
	l := newLedger(t)
	r, err := l.register(t.Context(), registration{rollout: sampleRollout("api")})
	require.NoError(t, err)
	require.NoError(t, l.record(t.Context(), sampleTransition(r, 1, "deployer", "chat")))
	require.NoError(t, l.record(t.Context(), sampleTransition(r, 2, "deployer")))

	older, due, _, err := l.NextOwed(t.Context(), "deployer", noon)
	require.NoError(t, err)
	require.True(t, due)
	older.Attempts, older.NextAttempt, older.LastError = 1, noon.Add(-time.Second), "refused"
	require.NoError(t, l.Settle(t.Context(), older))

	newer, due, _, err := l.NextOwed(t.Context(), "deployer", noon)
	require.NoError(t, err)
	require.True(t, due)
	require.NotEqual(t, older.ID, newer.ID, "what is new comes before what failed")
	newer.State = Delivered
	require.NoError(t, l.Settle(t.Context(), newer))
	_, due, next, err := l.NextOwed(t.Context(), "deployer", noon.Add(-time.Minute))
	require.NoError(t, err)
	require.False(t, due)
	require.Equal(t, noon.Add(-time.Second), next)

	require.NoError(t, l.Disable(t.Context(), "deployer", "address", noon))
	require.NoError(t, l.SetAside(t.Context(), "deployer", "another address"))
	_, due, _, err = l.NextOwed(t.Context(), "deployer", noon.Add(time.Hour))
	require.NoError(t, err)
	require.True(t, due, "the address has changed since")
	require.NoError(t, l.SetAside(t.Context(), "deployer", "address"))
	_, due, next, err = l.NextOwed(t.Context(), "deployer", noon.Add(time.Hour))
	require.NoError(t, err)
	require.False(t, due)
	require.Zero(t, next)
	gone, err := l.IsDisabled(t.Context(), "deployer", "address")
	require.NoError(t, err)
	require.True(t, gone)
	gone, err = l.IsDisabled(t.Context(), "deployer", "another address")
	require.NoError(t, err)
	require.False(t, gone)

	again, err := l.replay(t.Context(), older.ID, noon.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, Owed, again.State)
	require.Equal(t, older.Event, again.Event)
	gone, err = l.IsDisabled(t.Context(), "deployer", "address")
	require.NoError(t, err)
	require.False(t, gone)
	_, err = l.replay(t.Context(), "dlv_none", noon)
	require.Equal(t, NotFound, err.(*Error).Code)

	require.NoError(t, l.Abandon(t.Context(), []string{"deployer"}, noon.Add(time.Minute)))
	owed, err := l.CountOwed(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, owed, "chat is configured no more; the replayed one is owed")
}
