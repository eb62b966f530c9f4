package verdict

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func defaultPolicy() Policy { return DefaultConfig().Policy(15 * time.Second) }

// A truthCase is one row of testdata/judgement-cases.yml.
type truthCase struct {
	Name       string                  `yaml:"name"`
	Strategy   alerts.Strategy         `yaml:"strategy"`
	Kind       Kind                    `yaml:"kind"`
	Elapsed    time.Duration           `yaml:"elapsed"`
	Latched    Word                    `yaml:"latched"`
	Override   Word                    `yaml:"override"`
	Superseded bool                    `yaml:"superseded"`
	Stale      bool                    `yaml:"stale"`
	DryRun     bool                    `yaml:"dry_run"`
	First      bool                    `yaml:"first"`
	Gates      map[string]alerts.State `yaml:"gates"`
	Modes      map[string]alerts.Mode  `yaml:"modes"`
	Attributed map[string]alerts.Cause `yaml:"attributed"`
	Seen       []string                `yaml:"seen"`
	MissingFor time.Duration           `yaml:"missing_for"`
	Optional   []string                `yaml:"optional"`
	Coverage   map[string]float64      `yaml:"coverage"`

	Verdict Word     `yaml:"verdict"`
	Final   *bool    `yaml:"final"`
	Missing []string `yaml:"missing"`
	Status  int      `yaml:"status"`
	Codes   [3]int   `yaml:"codes"`
}

func (row truthCase) now() time.Time { return noon.Add(row.Elapsed) }

func (row truthCase) rollout() Rollout {
	r := Rollout{
		ID: "r-20261123-1200-api",
		Registration: Registration{
			Service: "api", Version: "2.4.0", Strategy: row.Strategy, Kind: row.Kind, StartedAt: noon,
		},
		Latched: row.Latched,
	}
	if row.Superseded {
		r.SupersededBy = "r-20261123-1230-api"
	}
	if row.Override != "" {
		r.Override = &Override{
			Verdict: row.Override, Reason: "known", Author: "ada",
			At: row.now().Add(-time.Minute), Until: row.now().Add(time.Hour),
		}
	}
	return r
}

// findings are those of a healthy service, changed as the row says.
func (row truthCase) findings() []alerts.Finding {
	found := healthy(row.now())
	for gate := range row.Gates {
		if !slices.ContainsFunc(found, func(f alerts.Finding) bool { return f.Gate == gate }) {
			found = append(found, alerts.Finding{Gate: gate, Mode: alerts.Enforce, Required: true, Coverage: 1, N: 1000})
		}
	}
	for i := range found {
		f := &found[i]
		if state, ok := row.Gates[f.Gate]; ok {
			f.State = state
			f.Seen = slices.Contains(row.Seen, f.Gate)
			f.LastSeen = row.now().Add(-row.MissingFor)
		}
		if mode, ok := row.Modes[f.Gate]; ok {
			f.Mode = mode
		}
		if coverage, ok := row.Coverage[f.Gate]; ok {
			f.Coverage = coverage
		}
		f.Cause = row.Attributed[f.Gate]
		withoutBaseline := row.First && f.Gate == "latency_p99"
		f.Required = f.Required && !slices.Contains(row.Optional, f.Gate) && !withoutBaseline
	}
	return found
}

// healthy are the findings of a service with which nothing is wrong.
func healthy(now time.Time) []alerts.Finding {
	var found []alerts.Finding
	for _, gate := range []string{"error_ratio", "outage", "latency_p99", "target_down", "queue_failed", "data_corruption"} {
		f := alerts.Finding{
			Gate: gate, State: alerts.OK, Mode: alerts.Enforce, Required: true, Seen: true, LastSeen: now,
			Coverage: 1, N: 1000, InGrace: gate == "outage" || gate == "data_corruption",
			Message: gate + " is as it should be",
		}
		if gate == "queue_failed" {
			f.Mode = alerts.Hold
		}
		found = append(found, f)
	}
	return found
}

func TestTruthTable(t *testing.T) {
	text, err := os.ReadFile("testdata/judgement-cases.yml")
	require.NoError(t, err)
	var table struct {
		Cases []truthCase `yaml:"cases"`
	}
	require.NoError(t, yaml.UnmarshalWithOptions(text, &table, yaml.Strict()))
	require.NotEmpty(t, table.Cases)
	for _, row := range table.Cases {
		t.Run(row.Name, func(t *testing.T) {
			policy := defaultPolicy()
			policy.DryRun = row.DryRun
			doc := Judge(row.rollout(), row.findings(), policy, row.now())
			codes := doc.Gates()
			if row.Stale && doc.Stale(row.now().Add(policy.Validity+time.Second)) {
				codes = NoVerdict
			}
			require.Equal(t, GateCodes{row.Codes[0], row.Codes[1], row.Codes[2]}, codes)
			if row.Status == 503 {
				return
			}
			require.Equal(t, row.Verdict, doc.Verdict, doc.Progress)
			if row.Final != nil {
				require.Equal(t, *row.Final, doc.Final)
			}
			if row.Missing != nil {
				require.Equal(t, row.Missing, missingGates(doc))
			}
			require.Equal(t, doc.Verdict == Promote, doc.Percent == 100)
		})
	}
}

func missingGates(doc Document) []string {
	var gates []string
	for _, m := range doc.Missing {
		gates = append(gates, m.Gate)
	}
	return gates
}

// severity orders verdicts from the best to the worst.
func severity(w Word) int { return slices.Index([]Word{Promote, Continue, HoldOn, Rollback}, w) }

var (
	allStates = alerts.States
	allModes  = []alerts.Mode{alerts.Observe, alerts.Hold, alerts.Enforce}
	allCauses = []alerts.Cause{"", alerts.Version, alerts.Dependency, alerts.Pod, alerts.Tenant, alerts.Traffic}
	allKinds  = []alerts.Strategy{alerts.Rolling, alerts.BlueGreen, alerts.Canary}
)

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

// randomScene makes a rollout and findings of every sort.
func randomScene(rng *rand.Rand) (Rollout, []alerts.Finding, time.Time) {
	now := noon.Add(time.Duration(rng.IntN(5*3600)) * time.Second)
	r := truthCase{Strategy: pick(rng, allKinds), Elapsed: now.Sub(noon), Latched: pick(rng, []Word{"", "", "", Promote})}.rollout()
	found := healthy(now)
	for i := range found {
		f := &found[i]
		if rng.IntN(3) == 0 {
			f.State = pick(rng, allStates)
		}
		f.Mode, f.Cause = pick(rng, allModes), pick(rng, allCauses)
		f.Required, f.Seen, f.Thin = rng.IntN(4) > 0, rng.IntN(2) > 0, rng.IntN(8) == 0
		f.LastSeen = now.Add(-time.Duration(rng.IntN(300)) * time.Second)
		f.Coverage = min(1, 0.8+rng.Float64())
	}
	return r, found, now
}

func forScenes(t *testing.T, check func(rng *rand.Rand, r Rollout, found []alerts.Finding, now time.Time)) {
	t.Helper()
	for seed := range uint64(3000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		r, found, now := randomScene(rng)
		check(rng, r, found, now)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestOrderOfFindingsDoesNotMatter(t *testing.T) {
	forScenes(t, func(rng *rand.Rand, r Rollout, found []alerts.Finding, now time.Time) {
		want := Judge(r, found, defaultPolicy(), now)
		shuffled := slices.Clone(found)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		require.Equal(t, want, Judge(r, shuffled, defaultPolicy(), now))
	})
}

func TestNothingMissingRollsBackOrIsPromoted(t *testing.T) {
	forScenes(t, func(rng *rand.Rand, r Rollout, found []alerts.Finding, now time.Time) {
		r.Latched = ""
		for i := range found {
			if found[i].State == alerts.Firing {
				found[i].State = alerts.OK
			}
		}
		lost := &found[rng.IntN(len(found))]
		lost.State, lost.Required, lost.Mode = pick(rng, allStates[4:]), true, alerts.Enforce
		require.True(t, lost.State.Missing())
		doc := Judge(r, found, defaultPolicy(), now)
		require.Contains(t, []Word{Continue, HoldOn}, doc.Verdict, doc.Progress)
		require.Contains(t, missingGates(doc), lost.Gate)
	})
}

func TestAMissingSeriesIsExplainedByTheGateThatMissesIt(t *testing.T) {
	r := Rollout{Registration: Registration{Service: "api", Version: "2", Strategy: alerts.Canary, StartedAt: noon}}
	message := `http_requests_total has no series with track="canary", version="2"; there is 1`
	found := []alerts.Finding{{Gate: "canary_errors", State: alerts.NoSeries, Mode: alerts.Enforce, Required: true, Message: message}}
	doc := Judge(r, found, defaultPolicy(), noon.Add(16*time.Minute))
	require.Equal(t, HoldOn, doc.Verdict)
	require.Equal(t, "no such series: "+message, doc.Missing[0].Why)
	require.Equal(t, "hold: canary_errors: no such series: "+message, doc.Progress)
}

// Worse evidence never makes a better verdict.
func TestVerdictIsMonotoneInEvidence(t *testing.T) {
	worse := []alerts.State{alerts.OK, alerts.Pending, alerts.Firing}
	forScenes(t, func(rng *rand.Rand, r Rollout, found []alerts.Finding, now time.Time) {
		gate := &found[rng.IntN(len(found))]
		last := -1
		for _, state := range worse {
			gate.State = state
			got := severity(Judge(r, found, defaultPolicy(), now).Verdict)
			require.GreaterOrEqual(t, got, last)
			last = got
		}
	})
}

// Whatever the evidence turns to, a rollback stays, and a promotion never
// becomes a verdict to go on watching.
func TestLatches(t *testing.T) {
	forScenes(t, func(_ *rand.Rand, r Rollout, found []alerts.Finding, now time.Time) {
		r.Latched = Rollback
		doc := Judge(r, found, defaultPolicy(), now)
		require.Equal(t, Rollback, doc.Verdict)
		require.True(t, doc.Final)

		r.Latched = Promote
		require.NotEqual(t, Continue, Judge(r, found, defaultPolicy(), now).Verdict)
	})
}

func TestJudgementEnds(t *testing.T) {
	forScenes(t, func(_ *rand.Rand, r Rollout, found []alerts.Finding, _ time.Time) {
		end := max(2*defaultPolicy().Watch(r.Strategy), defaultPolicy().After)
		doc := Judge(r, found, defaultPolicy(), noon.Add(end))
		require.True(t, doc.Final, doc.Progress)
	})
}

func TestHoldIsFinalAfterTwiceTheWatch(t *testing.T) {
	row := truthCase{Strategy: alerts.BlueGreen, Gates: map[string]alerts.State{"error_ratio": alerts.NoTraffic}}
	for elapsed, final := range map[time.Duration]bool{5 * time.Minute: false, 10*time.Minute - time.Second: false, 10 * time.Minute: true} {
		row.Elapsed = elapsed
		doc := Judge(row.rollout(), row.findings(), defaultPolicy(), row.now())
		require.Equal(t, HoldOn, doc.Verdict)
		require.Equal(t, final, doc.Final, elapsed)
		require.Equal(t, "hold: error_ratio: no traffic", doc.Progress)
	}
}

func TestWhatFiresIsToldByWhatItSawHoweverLittleThatWas(t *testing.T) {
	row := truthCase{Strategy: alerts.Rolling, Elapsed: 20 * time.Minute}
	findings := healthy(row.now())
	findings[0].Message, findings[0].Coverage = "5xx 6% against 0% beside it; without globex all is well", 0.6
	for state, progress := range map[alerts.State]string{
		alerts.Firing:  "hold: 5xx 6% against 0% beside it; without globex all is well (attributed to the tenant)",
		alerts.Pending: "continue: 20m of 2h watched; not decisive: 5xx 6% against 0% beside it; without globex all is well",
	} {
		findings[0].State, findings[0].Cause = state, alerts.Tenant
		require.Equal(t, progress, Judge(row.rollout(), findings, defaultPolicy(), row.now()).Progress)
	}
}

func TestNoTrafficHoldsNothingUnderWatch(t *testing.T) {
	row := truthCase{
		Strategy: alerts.Rolling, Elapsed: time.Hour, MissingFor: 30 * time.Minute,
		Gates: map[string]alerts.State{"error_ratio": alerts.NoTraffic}, Seen: []string{"error_ratio"},
	}
	require.Equal(t, Continue, Judge(row.rollout(), row.findings(), defaultPolicy(), row.now()).Verdict)
}

func TestTooFewObservationsCoverNothing(t *testing.T) {
	row := truthCase{Strategy: alerts.BlueGreen, Elapsed: 5 * time.Minute}
	thin := healthy(row.now())
	thin[0].Thin, thin[0].N = true, 40
	doc := Judge(row.rollout(), thin, defaultPolicy(), row.now())
	require.Equal(t, HoldOn, doc.Verdict)
	require.Equal(t, "hold: error_ratio: too few observations (n=40)", doc.Progress)
}

func TestOverrideExpires(t *testing.T) {
	row := truthCase{Strategy: alerts.Canary, Elapsed: 8 * time.Minute, Override: HoldOn}
	r := row.rollout()
	doc := Judge(r, row.findings(), defaultPolicy(), row.now())
	require.Equal(t, HoldOn, doc.Verdict)
	require.Equal(t, "hold: ada decided: known", doc.Progress)
	require.NotNil(t, doc.Override)

	expired := r.Override.Until
	doc = Judge(r, healthy(expired), defaultPolicy(), expired)
	require.Equal(t, Promote, doc.Verdict)
	require.Nil(t, doc.Override)
}

func TestFinishedKeepsItsLastVerdict(t *testing.T) {
	row := truthCase{Strategy: alerts.Canary, Elapsed: 8 * time.Minute, Gates: map[string]alerts.State{"error_ratio": alerts.Firing}}
	r := row.rollout()
	r.FinishedAt, r.Outcome, r.Verdict = row.now(), Aborted, HoldOn
	doc := Judge(r, row.findings(), defaultPolicy(), row.now())
	require.Equal(t, HoldOn, doc.Verdict)
	require.True(t, doc.Final)
}

func TestNothingSpeaksForAServiceWithoutGates(t *testing.T) {
	row := truthCase{Strategy: alerts.BlueGreen, Elapsed: 5 * time.Minute}
	doc := Judge(row.rollout(), nil, defaultPolicy(), row.now())
	require.Equal(t, HoldOn, doc.Verdict)
	require.Equal(t, "hold: no gate is required of the service, so nothing speaks for it", doc.Progress)
}

func TestReasonsNameWhatDecidedFirst(t *testing.T) {
	row := truthCase{
		Strategy: alerts.Rolling, Elapsed: 10 * time.Minute,
		Gates:      map[string]alerts.State{"error_ratio": alerts.Firing, "target_down": alerts.Firing, "latency_p99": alerts.Pending},
		Attributed: map[string]alerts.Cause{"error_ratio": alerts.Dependency},
	}
	doc := Judge(row.rollout(), row.findings(), defaultPolicy(), row.now())
	require.Equal(t, Rollback, doc.Verdict)
	var gates []string
	for _, reason := range doc.Reasons {
		gates = append(gates, reason.Gate)
	}
	require.Equal(t, []string{"target_down", "error_ratio", "latency_p99"}, gates)
}

func TestNumbersThatJSONCannotCarryAreLeftOut(t *testing.T) {
	nan := math.NaN()
	f := finite(alerts.Finding{
		Observed: &nan, Limit: &nan, N: nan, Coverage: math.Inf(1),
		Baseline: &alerts.BaselineValue{Value: nan}, Evidence: &alerts.Evidence{Method: "threshold", Guard: math.Inf(1)},
	})
	require.Equal(t, alerts.Finding{Evidence: &alerts.Evidence{Method: "threshold"}}, f)
}

func TestWhatWouldNotHaveBeenFoundIsNotPromotedWhereItMustBe(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	r := Rollout{Registration: Registration{Service: "api", Strategy: alerts.BlueGreen, Kind: Deploy, StartedAt: now.Add(-6 * time.Minute)}}
	judged := func(policy, detectable float64, gate *float64) Document {
		p := defaultPolicy()
		p.Detectable = policy
		f := alerts.Finding{
			Gate: "error_ratio", State: alerts.OK, Mode: alerts.Enforce, Required: true, Seen: true, LastSeen: now, Coverage: 1, N: 1000,
			Counts: true, MinDetectable: detectable, RequireDetectable: gate,
		}
		return Judge(r, but(healthy(now), f), p, now)
	}
	require.Equal(t, Promote, judged(0, 7, nil).Verdict, "nothing is required")
	require.Equal(t, Promote, judged(3, 2.5, nil).Verdict)
	require.InDelta(t, 2.5, judged(3, 2.5, nil).MinDetectable["error_ratio"], 0)
	require.NotContains(t, judged(3, 2.5, nil).MinDetectable, "target_down", "it counts nothing")

	doc := judged(3, 3.01, nil)
	require.Equal(t, HoldOn, doc.Verdict)
	require.Equal(t, "so few observations (n=1000) find 3.1x the baseline or more, 3x must be found", doc.Missing[0].Why)
	require.Equal(t, []Word{Promote}, doc.Missing[0].Blocks)
	doc = judged(3, 0, nil)
	require.Equal(t, HoldOn, doc.Verdict)
	require.Equal(t, "hold: error_ratio: so few observations (n=1000) find no effect, 3x must be found", doc.Progress)
	require.Zero(t, doc.MinDetectable["error_ratio"])
	require.Contains(t, doc.MinDetectable, "error_ratio", "that it finds nothing is said")

	require.Equal(t, Promote, judged(3, 7, new(0.0)).Verdict, "the gate's own wins")
	require.Equal(t, HoldOn, judged(0, 7, new(5.0)).Verdict)
}
