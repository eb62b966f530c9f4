package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/rollwatch/rollwatch/verdict"
)

// An entry is one thing that happened.
type entry struct {
	at   time.Time
	what string // Markdown
}

func (d *draft) timeline() {
	d.linef("## Timeline")
	d.linef("")
	d.linef("| Time (UTC) | Since the start | What |")
	d.linef("|---|---|---|")
	start := d.History.Rollout.StartedAt
	for _, e := range d.entries() {
		since := lasted(e.at.Sub(start))
		if e.at.Before(start) {
			since = "-" + lasted(start.Sub(e.at))
		}
		d.linef("| %s | %s | %s |", e.at.UTC().Format("2006-01-02 15:04:05"), since, e.what)
	}
	d.linef("")
}

// entries are all that happened, in order of time, and as recorded where it
// happened at the same time.
func (d *draft) entries() []entry {
	r := d.History.Rollout
	all := []entry{{r.StartedAt, "The rollout started"}, {r.RegisteredAt, "It was registered as " + code(r.ID)}}
	for _, s := range r.Stages {
		all = append(all, entry{s.At, "Stage: " + stage(s)})
	}
	for _, o := range d.History.Overrides {
		all = append(all, entry{o.At, fmt.Sprintf("Override by %s: **%s** until %s: %s", code(o.Author), plain(string(o.Verdict)), moment(o.Until), plain(o.Reason))})
		if o.Until.Before(d.Now) {
			all = append(all, entry{o.Until, "The override by " + code(o.Author) + " expired, unless it was replaced before"})
		}
	}
	for i, t := range d.History.Transitions {
		var before verdict.Word
		if i > 0 {
			before = d.History.Transitions[i-1].Document.Verdict
		}
		all = append(all, entry{t.At, transition(before, t)})
	}
	for _, delivery := range d.History.Deliveries {
		all = append(all, deliveries(delivery)...)
	}
	if r.SupersededBy != "" && !d.judgedAsSuperseded() {
		all = append(all, entry{r.RegisteredAt, "It is superseded by " + code(r.SupersededBy)})
	}
	if !r.FinishedAt.IsZero() {
		all = append(all, entry{r.FinishedAt, "The rollout was finished: **" + plain(string(r.Outcome)) + "**"})
	}
	slices.SortStableFunc(all, func(a, b entry) int { return a.at.Compare(b.at) })
	return all
}

// judgedAsSuperseded says whether a transition tells already that a newer
// rollout took its place.
func (d *draft) judgedAsSuperseded() bool {
	return slices.ContainsFunc(d.History.Transitions, func(t verdict.Transition) bool { return t.Document.SupersededBy != "" })
}

func stage(s verdict.Stage) string {
	switch {
	case s.Weight != nil && s.Note != "":
		return fmt.Sprintf("%s %% of the traffic, %s", short(*s.Weight), plain(s.Note))
	case s.Weight != nil:
		return short(*s.Weight) + " % of the traffic"
	}
	return plain(s.Note)
}

func transition(before verdict.Word, t verdict.Transition) string {
	doc := t.Document
	text := "Verdict **" + plain(string(doc.Verdict)) + "**"
	if before != "" && before != doc.Verdict {
		text = fmt.Sprintf("Verdict %s → **%s**", plain(string(before)), plain(string(doc.Verdict)))
	}
	if doc.Final {
		text += ", final"
	}
	return fmt.Sprintf("%s (%d): %s", text, doc.Seq, plain(doc.Progress))
}

// deliveries tell what became of one, if anything did yet.
func deliveries(d verdict.Delivery) []entry {
	event := code(string(d.Type)) + " for " + code(d.Endpoint)
	attempts := fmt.Sprintf("%d attempts", d.Attempts)
	if d.Attempts == 1 {
		attempts = "1 attempt"
	}
	switch d.State {
	case verdict.Delivered:
		return []entry{{cmp.Or(d.DeliveredAt, d.CreatedAt), fmt.Sprintf("Webhook %s delivered (%s)", event, attempts)}}
	case verdict.Owed:
		text := fmt.Sprintf("Webhook %s is owed still (%s)", event, attempts)
		if d.LastError != "" {
			text += ": " + plain(d.LastError)
		}
		return []entry{{d.CreatedAt, text}}
	default:
		return []entry{{d.CreatedAt, fmt.Sprintf("Webhook %s never arrived (%s, %s): %s", event, plain(string(d.State)), attempts, plain(d.LastError))}}
	}
}
