package verdict

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/rollwatch/rollwatch/alerts"
)

func TestALedgerThatIsTakenAwayIsNoticedAtOnceAndSaidOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		core, logs := observer.New(zap.InfoLevel)
		w.stop()
		w.opts.Log = zap.New(core)
		w.start()
		r := w.register(alerts.Rolling)
		w.pass(tick)
		require.NoError(t, os.Rename(w.path, w.path+".away"))
		w.pass(3 * tick)
		doc := w.verdict(r.ID)
		require.Equal(t, Continue, doc.Verdict, "what is on record is served on")
		require.Contains(t, doc.Degraded, "was removed while rollwatch runs")
		require.Contains(t, w.engine.Degraded(), w.path)
		require.Len(t, logs.FilterMessage("nothing can be recorded").All(), 1)

		w.show(fires("error_ratio"))
		w.pass(tick)
		require.Equal(t, Continue, w.verdict(r.ID).Verdict, "a rollback that is in no file is not shown: it would be gone after a restart")
		_, _, err := w.engine.Register(t.Context(), Registration{Service: "api", Version: "3", Strategy: alerts.Rolling}, "")
		require.ErrorContains(t, err, "was removed")

		require.NoError(t, os.Rename(w.path+".away", w.path))
		w.pass(tick)
		doc = w.verdict(r.ID)
		require.Equal(t, Rollback, doc.Verdict)
		require.Empty(t, doc.Degraded)
		require.Empty(t, w.engine.Degraded())
		require.Len(t, logs.FilterMessage("everything is recorded again").All(), 1)
	})
}

func TestALedgerInWhosePlaceAnotherFileStandsIsNotWrittenTo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.register(alerts.Rolling)
		require.NoError(t, os.Rename(w.path, w.path+".away"))
		require.NoError(t, os.WriteFile(w.path, []byte("a backup"), 0o600))
		w.pass(tick)
		require.Contains(t, w.engine.Degraded(), "was replaced while rollwatch runs")
		text, err := os.ReadFile(w.path)
		require.NoError(t, err)
		require.Equal(t, "a backup", string(text))
	})
}

func TestTheLedgerIsKnownAgainByWhatItIsOnceItIsOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := connect(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	// As on a file system that numbers files anew while nobody has them open.
	require.NoError(t, os.Rename(path, path+".before"))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, l.begin(t.Context()))
	require.NoError(t, l.check(t.Context()))
	_, err = l.register(t.Context(), registration{rollout: sampleRollout("api")})
	require.NoError(t, err)
}

func TestAFullDiskDegradesTheJudgeAlsoWhenNoVerdictIsDue(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pass(tick)
		require.Empty(t, w.engine.Degraded())
		fillDisk(t, w.ledger.write)
		_, _, err := w.engine.Register(t.Context(), Registration{Service: "api", Version: strings.Repeat("2", 200), Strategy: alerts.Rolling, Labels: manyLabels()}, "")
		require.ErrorContains(t, err, "the disk is full")
		w.pass(10 * time.Minute)
		require.Contains(t, w.engine.Degraded(), "the disk is full", "nobody tried to record anything since, and it is full still")
		makeRoom(t, w.ledger.write)
		w.pass(tick)
		require.Empty(t, w.engine.Degraded())
	})
}

// manyLabels are more than fits the pages that an empty ledger has.
func manyLabels() map[string]string {
	labels := map[string]string{}
	for i := range maxList {
		labels[strings.Repeat(string(rune('a'+i%26)), 1+i)] = strings.Repeat("x", maxName)
	}
	return labels
}
