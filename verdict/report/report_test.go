package report

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func after(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }

// story is a canary that was rolled back in its sixth minute.
func story() verdict.History {
	observed, limit, weight := 0.041, 0.01, 10.0
	reason := alerts.Finding{
		Gate: "error_ratio", State: alerts.Firing, Mode: alerts.Enforce, Scope: map[string]string{"track": "canary"},
		Observed: &observed, Unit: "ratio", Limit: &limit, Baseline: &alerts.BaselineValue{Kind: "stable", Value: 0.002, N: 9120},
		N: 812, Window: "5m", Since: after(1), Cause: alerts.Version, Query: "sum(rate(errors[5m])) / sum(rate(requests[5m]))",
		Evidence: &alerts.Evidence{Method: "spans and guard", Guard: 68.1, Needed: 11.5, Spans: 5, SpansOver: 5},
		Message:  "errors 4.1% > 1% for 5m (n=812, baseline 0.2%)",
	}
	registration := verdict.Registration{
		Service: "api", Version: "2.4.0", PreviousVersion: "2.3.1", Strategy: alerts.Canary, Kind: verdict.Deploy, StartedAt: noon,
		FeatureFlags: []string{"checkout-v2"}, PreviousImage: "api:2.3.1",
		Migrations: []verdict.Migration{{Tool: "prisma", Name: "orders", Kind: verdict.Data, Reverse: "undo.sql"}},
		Labels:     map[string]string{"pipeline": "1842"},
	}
	document := func(word verdict.Word, at time.Time, seq int64, progress string) verdict.Document {
		return verdict.Document{Schema: verdict.Schema, Verdict: word, Seq: seq, AsOf: at, Phase: "0-15m", Progress: progress}
	}
	rolledBack := document(verdict.Rollback, after(5.5), 2, "roll back: errors 4.1% > 1% for 5m")
	rolledBack.Final, rolledBack.Reasons = true, []alerts.Finding{reason}
	rolledBack.Findings = []alerts.Finding{reason, {Gate: "target_down", State: alerts.OK, Mode: alerts.Enforce, Message: "it answers"}}
	rolledBack.Missing = []verdict.Missing{{Gate: "queue_rate", State: alerts.NoSeries, Since: noon, Blocks: []verdict.Word{verdict.Promote}, Why: "no such series"}}
	rolledBack.Action = &verdict.Action{
		Kind: "flag", Flag: "checkout-v2", Switch: "redis main: SET ff:checkout-v2 false",
		Schema: []alerts.SchemaChange{{Database: "main", Change: "column_dropped", Breaks: true, Sentence: "the column email of users is gone"}},
		Notes:  []string{"the schema of main does not fit the previous version any more"},
	}
	rolledBack.Action.Alternatives = []verdict.Action{{Kind: "image", Image: "api:2.3.1", Reverse: []string{"undo.sql"}, BlockedBy: []string{"schema"}}}
	return verdict.History{
		Rollout: verdict.Rollout{
			ID: "r-20261123-1200-api", Registration: registration, RegisteredAt: after(0.1), Stages: []verdict.Stage{{At: after(2), Weight: &weight}},
			Verdict: verdict.Rollback, Final: true, Seq: 2, Outcome: verdict.RolledBack, FinishedAt: after(9),
			Baseline: alerts.Baseline{ID: "b-77", Kind: "stable"},
		},
		Overrides: []verdict.Override{{Verdict: verdict.Continue, Reason: "a load test", Author: "ada", At: after(3), Until: after(4)}},
		Transitions: []verdict.Transition{
			{Event: "evt_1", Type: verdict.VerdictChanged, At: after(0.1), Document: document(verdict.Continue, after(0.1), 1, "continue: 6s of 15m watched")},
			{Event: "evt_2", Type: verdict.VerdictFinal, At: after(5.5), Document: rolledBack},
		},
		Deliveries: []verdict.Delivery{
			{Type: verdict.VerdictFinal, Endpoint: "deployer", State: verdict.Delivered, Attempts: 1, CreatedAt: after(5.5), DeliveredAt: after(5.6)},
			{Type: verdict.VerdictFinal, Endpoint: "chat", State: verdict.Failed, Attempts: 9, CreatedAt: after(5.5), LastError: "connection refused"},
		},
	}
}

// saw is what the query of the gate gives: quiet before, errors from the start on.
func saw() promql.Matrix {
	series := promql.Series{Metric: labels.FromStrings("track", "canary")}
	for t := noon.Add(-8 * time.Minute); t.Before(after(14)); t = t.Add(15 * time.Second) {
		v := 0.002 + 0.001*math.Sin(float64(t.Unix())/90)
		if t.After(noon) {
			v = min(0.045, 0.002+0.0075*t.Sub(noon).Minutes())
		}
		series.Floats = append(series.Floats, promql.FPoint{T: t.UnixMilli(), F: v})
	}
	return promql.Matrix{series}
}

func reportOf(h verdict.History, series promql.Matrix) Report {
	r := Report{History: h, Now: after(60)}
	findings, _ := Findings(h)
	for _, f := range findings {
		r.Pictures = append(r.Pictures, NewPicture(h, f, series, r.Now))
	}
	return r
}

func TestTheDraftTellsTheStoryOfARollback(t *testing.T) {
	text := reportOf(story(), saw()).Markdown()
	for _, want := range []string{
		"# Post-mortem draft: api 2.4.0 was to be rolled back",
		"| What | `api` `2.3.1` → `2.4.0`, canary deploy |",
		"| Verdict | **rollback** at 2026-11-23 12:05:30 UTC, 5m30s after the start, in phase 0-15m; final |",
		"| Decided by | `error_ratio` (attributed to the version) |",
		"about 33 of 812 observations of `error_ratio` were bad in the 5m that decided; the version was in production for 9m, 3m30s of it after the verdict",
		"| Migrations | `prisma orders` (data, undone by `undo.sql`) |",
		"| 2026-11-23 12:02:00 | 2m | Stage: 10 % of the traffic |",
		"| 2026-11-23 12:03:00 | 3m | Override by `ada`: **continue** until 2026-11-23 12:04:00 UTC: a load test |",
		"| 2026-11-23 12:05:30 | 5m30s | Verdict continue → **rollback**, final (2): roll back: errors 4.1% &#62; 1% for 5m |",
		"Webhook `verdict.final` for `deployer` delivered (1 attempt)",
		"Webhook `verdict.final` for `chat` never arrived (failed, 9 attempts): connection refused",
		"The rollout was finished: **rolled_back**",
		"| `error_ratio` `track=canary` | firing (enforce) | 4.1 % | 1 % | 0.2 % (stable, n=9120) | 812 | 5m | 2026-11-23 12:01:00 UTC | spans and guard, 5 of 5 spans over, 68.1 of 11.5 nats | version |",
		"```promql\nsum(rate(errors[5m])) / sum(rate(requests[5m]))\n```",
		"| `queue_rate` | no_series | 2026-11-23 12:00:00 UTC | promote | no such series |",
		"1. switch off the feature flag `checkout-v2` (`redis main: SET ff:checkout-v2 false`)",
		"2. deploy the image `api:2.3.1`, and run `undo.sql` in this order; **blocked by** `schema`",
		"- In `main` the column email of users is gone: **the previous version may fail on it**\n- the schema of main does not fit the previous version any more",
		"No picture of `target_down`: no query draws this gate.",
		"- [ ] What was the cause?",
	} {
		require.Contains(t, text, want)
	}
	require.Less(t, strings.Index(text, "12:03:00 | 3m"), strings.Index(text, "12:05:30 | 5m30s"), "in order of time")
}

func TestADraftSaysThatNoWayBackWasDeclaredAndWhatWasNotCompared(t *testing.T) {
	h := story()
	doc := &h.Transitions[len(h.Transitions)-1].Document
	doc.Action = &verdict.Action{Kind: "revert", BlockedBy: []string{}, Notes: []string{"the version before was 2.3.1"}}
	doc.Notes = []string{"the canary is not compared"}
	text := reportOf(h, nil).Markdown()
	require.Contains(t, text, "1. go back to what ran before: no way back was declared\n\n- the version before was 2.3.1\n")
	require.Contains(t, text, "## What was missing\n\n- the canary is not compared\n")
}

func TestARolloutThatWasNotJudgedHasADraftToo(t *testing.T) {
	h := story()
	h.Transitions, h.Deliveries, h.Rollout.Verdict, h.Rollout.Final = nil, nil, "", false
	text := reportOf(h, nil).Markdown()
	require.Contains(t, text, "was not judged yet")
	require.NotContains(t, text, "## Evidence")
}

func TestTheEvidenceIsThatOfTheDecisionNotOfTheLastWord(t *testing.T) {
	h := story()
	again := h.Transitions[1]
	again.At, again.Document.Seq, again.Document.Reasons, again.Document.Findings = after(9), 3, nil, nil
	h.Transitions = append(h.Transitions, again)
	findings, ok := Findings(h)
	require.True(t, ok)
	require.Equal(t, "error_ratio", findings[0].Gate)
	require.Equal(t, 0.041, *findings[0].Observed)
	require.Len(t, findings, 2)
}

func TestThePictureShowsSignalLimitStartAndVerdict(t *testing.T) {
	picture := reportOf(story(), saw()).Pictures[0]
	texts := textsOf(t, picture.SVG())
	for _, want := range []string{
		"error_ratio of api 2.4.0", "errors 4.1% > 1% for 5m (n=812, baseline 0.2%)", "limit 1 %", "start", "10 %", "override: continue",
		"rollback", "finished", "0 %", "2 %", "12:00", "2026-11-23, UTC",
	} {
		require.Contains(t, texts, want)
	}
	require.Contains(t, string(picture.SVG()), "prefers-color-scheme:dark")
	require.Equal(t, "error_ratio from 2026-11-23 11:46:00 UTC to 2026-11-23 12:14:00 UTC: between 0.1 % and 4.5 %, limit 1 %", picture.Alt())
}

func TestWhereTheWindowHasForgottenThatIsSaid(t *testing.T) {
	r := reportOf(story(), nil)
	want := "the window holds nothing of it from 2026-11-23 11:46:00 UTC to 2026-11-23 12:14:00 UTC (it forgets after window.retention)"
	require.Contains(t, r.Markdown(), "No picture of `error_ratio`: "+plain(want)+".")
	require.NotContains(t, r.Markdown(), "data:image")
	require.Contains(t, strings.Join(textsOf(t, r.Pictures[0].SVG()), "\n"), want[:80], "the picture by itself says it too")
}

func TestEvidenceWithoutAWindowIsCountedSinceTheStart(t *testing.T) {
	h := story()
	for _, s := range h.Transitions {
		for i := range s.Document.Reasons {
			s.Document.Reasons[i].Window = ""
		}
	}
	require.Contains(t, reportOf(h, nil).Markdown(), "about 33 of 812 observations of `error_ratio` were bad since the start; ")
}

func TestTimesWithoutDataAreGaps(t *testing.T) {
	series := saw()
	series[0].Floats = slices.DeleteFunc(series[0].Floats, func(p promql.FPoint) bool {
		at := time.UnixMilli(p.T)
		return at.After(after(2)) && at.Before(after(4))
	})
	series[0].Floats[3].F = math.NaN()
	picture := reportOf(story(), series).Pictures[0]
	drawn := regexp.MustCompile(`<path class="s0" d="([^"]*)"`).FindSubmatch(picture.SVG())
	require.Equal(t, 2, bytes.Count(drawn[1], []byte("M")))
	require.NotContains(t, string(picture.SVG()), "NaN")
}

func TestManySeriesAreCutAndCounted(t *testing.T) {
	var many promql.Matrix
	for i := range 40 {
		many = append(many, promql.Series{Metric: labels.FromStrings("i", string(rune('a'+i))), Floats: []promql.FPoint{{T: noon.UnixMilli(), F: float64(i)}, {T: after(1).UnixMilli(), F: 1}}})
	}
	svg := reportOf(story(), many).Pictures[0].SVG()
	require.Equal(t, maxLines, bytes.Count(svg, []byte(`<path class="s`))-strings.Count(strings.Join(textsOf(t, svg), "\n"), "{i="))
}

func TestFiguresHaveUnits(t *testing.T) {
	for want, given := range map[string]struct {
		v    float64
		unit string
	}{
		"4.1 %": {0.041, "ratio"}, "0 %": {0, "ratio"}, "250 ms": {0.25, "seconds"}, "2.5 s": {2.5, "seconds"}, "100 jobs": {100, "jobs"},
		"12345": {12345, ""}, "1.5e+09": {1.5e9, ""}, "0.01235 %": {0.00012346, "ratio"}, "none": {math.NaN(), "ratio"}, "-3": {-3, ""},
	} {
		require.Equal(t, want, figure(given.v, given.unit))
	}
}

func TestScalesAreRound(t *testing.T) {
	limit := 0.01
	s := scaleOf([]Line{{Points: []Point{{noon, 0.045}}}}, &limit)
	require.InDeltaSlice(t, []float64{0, 0.02, 0.04, 0.06}, s.ticks(), 1e-9)
	flat := scaleOf([]Line{{Points: []Point{{noon, 0}}}}, nil)
	require.Positive(t, flat.to)
	huge := scaleOf([]Line{{Points: []Point{{noon, math.MaxFloat64}, {noon, -math.MaxFloat64}}}}, nil)
	require.NotEmpty(t, huge.ticks())
	require.Len(t, timeTicks(noon, after(28)), 6)
	require.NotEmpty(t, timeTicks(noon, noon.Add(9*24*time.Hour)))
}

// textsOf reads an SVG and returns its texts; it fails on anything that is not
// drawn by a canvas.
func textsOf(t *testing.T, svg []byte) (texts []string) {
	t.Helper()
	allowed := []string{"svg", "title", "desc", "style", "rect", "line", "text", "path"}
	attributes := []string{"xmlns", "viewBox", "width", "height", "role", "class", "x", "y", "x1", "y1", "x2", "y2", "d", "text-anchor"}
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	within := ""
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		require.NoError(t, err, string(svg))
		switch token := token.(type) {
		case xml.StartElement:
			require.Contains(t, allowed, token.Name.Local)
			for _, a := range token.Attr {
				require.Contains(t, attributes, a.Name.Local)
			}
			within = token.Name.Local
		case xml.EndElement:
			within = ""
		case xml.CharData:
			switch within {
			case "text":
				texts = append(texts, string(token))
			case "style":
				require.Equal(t, style, string(token), "nobody adds to the style")
			}
		default:
			t.Fatalf("a %T in the picture", token)
		}
	}
}

// Whatever a service, a label or a person is called, it is shown and no more.
func TestExtremeValuesAreDrawnAtSomePlace(t *testing.T) {
	for _, v := range []float64{math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1e-300, 1e300} {
		for _, other := range []float64{0, v, -v} {
			p := Picture{Gate: "custom", From: noon, To: noon.Add(time.Hour), Start: noon, Limit: &other,
				Lines: []Line{{Points: []Point{{noon, v}, {noon.Add(time.Minute), other}}}}}
			require.NotRegexp(t, `(y|y1|height)="[^"]*(NaN|Inf)|d="[^"]*(NaN|Inf)`, string(p.SVG()), "%g and %g", v, other)
		}
	}
}

func FuzzNothingFromOutsideIsMarkup(f *testing.F) {
	for _, hostile := range []string{
		"<script>alert(1)</script>", `"><svg onload=alert(1)>`, "]]><!--", "![x](javascript:alert(1))", "| a | b |\n\n# heading", "```\n<b>", "`` ` ``",
		"&lt;", "\u202etxt.exe", "\x00\x1b[31m", "https://evil.example @everyone", "a`b|c\\", "\xff\xfe", "</text></svg><script/>", strings.Repeat("x", 2000),
	} {
		f.Add(hostile)
	}
	f.Fuzz(func(t *testing.T, hostile string) {
		h := story()
		r := &h.Rollout
		r.ID, r.Service, r.Version, r.PreviousVersion, r.Commit, r.Image = hostile, hostile, hostile, hostile, hostile, hostile
		r.FeatureFlags, r.Labels = []string{hostile}, map[string]string{hostile: hostile}
		r.Migrations[0] = verdict.Migration{Tool: hostile, Name: hostile, Kind: hostile, Reverse: hostile}
		r.Stages[0].Note, r.SupersededBy, r.Baseline.Kind, r.Baseline.ID = hostile, hostile, hostile, hostile
		h.Overrides[0].Author, h.Overrides[0].Reason = hostile, hostile
		h.Deliveries[1].Endpoint, h.Deliveries[1].LastError = hostile, hostile
		doc := &h.Transitions[1].Document
		doc.Progress, doc.Phase = hostile, hostile
		finding := &doc.Reasons[0]
		finding.Gate, finding.Message, finding.Query, finding.Window, finding.Unit = hostile, hostile, hostile, hostile, hostile
		finding.Scope = map[string]string{hostile: hostile}
		doc.Missing[0].Gate, doc.Missing[0].Why = hostile, hostile
		doc.Action.Flag, doc.Action.Switch, doc.Action.Alternatives[0].Image = hostile, hostile, hostile
		doc.Action.Schema[0].Database, doc.Action.Schema[0].Sentence, doc.Action.Notes[0] = hostile, hostile, hostile
		series := saw()
		series[0].Metric = labels.FromStrings("x", hostile)
		series = append(series, promql.Series{Metric: labels.FromStrings("y", hostile), Floats: series[0].Floats})

		text := reportOf(h, series).Markdown()
		for _, encoded := range regexp.MustCompile(`base64,([A-Za-z0-9+/=]+)\)`).FindAllStringSubmatch(text, -1) {
			svg, err := base64.StdEncoding.DecodeString(encoded[1])
			require.NoError(t, err)
			textsOf(t, svg)
		}
		holds(t, text)
	})
}

// holds fails where a draft has markup that it did not write itself.
func holds(t *testing.T, text string) {
	t.Helper()
	fence := ""
	columns := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if fence != "" {
			if line == fence {
				fence = ""
			}
			continue
		}
		if ticks := strings.TrimSuffix(line, "promql"); ticks != line && strings.Trim(ticks, "`") == "" {
			fence = ticks
			continue
		}
		outside := regexp.MustCompile("`[^`]*`").ReplaceAllString(line, "")
		require.NotContains(t, outside, "`", line)
		require.NotContains(t, outside, "<", line)
		require.NotContains(t, outside, "://", line)
		if strings.HasPrefix(line, "![") {
			require.Regexp(t, `^!\[[^\]\[]*\]\(data:image/svg\+xml;base64,[A-Za-z0-9+/=]+\)$`, line)
		} else {
			require.NotContains(t, outside, "](", line)
		}
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		if n := strings.Count(line, "|"); columns == 0 {
			columns = n
		} else {
			require.Equal(t, columns, n, line)
		}
	}
	require.Empty(t, fence, "every block of code ends")
}
