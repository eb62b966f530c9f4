package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"

	"github.com/rollwatch/rollwatch/verdict"
)

// A replayed is what `rollwatch replay` answers.
type replayed struct {
	Rollout     string             `json:"rollout"`
	Service     string             `json:"service"`
	Version     string             `json:"version"`
	StartedAt   time.Time          `json:"startedAt"`
	From        time.Time          `json:"from"`
	To          time.Time          `json:"to"`
	Judgements  int                `json:"judgements"`
	Same        bool               `json:"same"` // no difference lasted longer than one interval
	Changes     []replayChange     `json:"changes"`
	Differences []replayDifference `json:"differences"`
}

// A replayChange is a tick at which what was decided, or what is decided now,
// became another.
type replayChange struct {
	At         time.Time    `json:"at"`
	Then       verdict.Word `json:"then,omitempty"`
	ThenReason string       `json:"thenReason,omitempty"`
	Now        verdict.Word `json:"now"`
	NowReason  string       `json:"nowReason"`
	Final      bool         `json:"final"`
}

// A replayDifference is a time in which another verdict is decided now than then.
type replayDifference struct {
	From  time.Time    `json:"from"`
	To    time.Time    `json:"to"`
	Then  verdict.Word `json:"then"`
	Now   verdict.Word `json:"now"`
	Brief bool         `json:"brief"` // no longer than one interval: when the judge looked, not what it saw
}

func newReplayed(h verdict.History, moments []verdict.Moment, interval time.Duration) *replayed {
	r := &replayed{
		Rollout: h.Rollout.ID, Service: h.Rollout.Service, Version: h.Rollout.Version, StartedAt: h.Rollout.StartedAt,
		From: moments[0].At, To: moments[len(moments)-1].At, Judgements: len(moments), Same: true,
		Changes: []replayChange{}, Differences: []replayDifference{},
	}
	for i, m := range moments {
		if i == 0 || m.Then != moments[i-1].Then || m.Now.Verdict != moments[i-1].Now.Verdict || m.Now.Final != moments[i-1].Now.Final {
			r.Changes = append(r.Changes, replayChange{m.At, m.Then, m.Why, m.Now.Verdict, m.Now.Progress, m.Now.Final})
		}
		if m.Differs() {
			r.differ(m, moments, i, interval)
		}
	}
	for _, d := range r.Differences {
		r.Same = r.Same && d.Brief
	}
	// Of a rollout from a file only its newest verdict is known.
	last := moments[len(moments)-1].Now.Verdict
	if recorded := h.Rollout.Verdict; len(h.Transitions) == 0 && recorded != "" && recorded != last {
		r.Same = false
		r.Differences = append(r.Differences, replayDifference{From: r.To, To: r.To, Then: recorded, Now: last})
	}
	return r
}

// differ notes that the verdicts differ from a moment on to the next.
func (r *replayed) differ(m verdict.Moment, moments []verdict.Moment, i int, interval time.Duration) {
	to := m.At.Add(interval) // the last one holds as long as another would
	if i+1 < len(moments) {
		to = moments[i+1].At
	}
	if n := len(r.Differences); n > 0 {
		if d := &r.Differences[n-1]; d.To.Equal(m.At) && d.Then == m.Then && d.Now == m.Now.Verdict {
			d.To, d.Brief = to, to.Sub(d.From) <= interval
			return
		}
	}
	r.Differences = append(r.Differences, replayDifference{m.At, to, m.Then, m.Now.Verdict, to.Sub(m.At) <= interval})
}

// show prints it for people.
func (r *replayed) show(w io.Writer) error {
	fmt.Fprintf(w, "%s: %s %s, judged again %d times from %s to %s\n\n", r.Rollout, r.Service, r.Version, r.Judgements, clockOf(r.From), clockOf(r.To))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIME\tSINCE START\tTHEN\tNOW\tREASON NOW")
	for _, c := range r.Changes {
		now := string(c.Now)
		if c.Final {
			now += ", final"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", clockOf(c.At), r.since(c.At), orDash(string(c.Then)), now, oneLine(c.NowReason))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, d := range r.Differences {
		note := ""
		if d.Brief {
			note = " (no longer than one interval: when it was looked, not what was seen)"
		}
		fmt.Fprintf(w, "%s to %s: %s then, %s now%s\n", r.since(d.From), r.since(d.To), d.Then, d.Now, note)
	}
	if r.Same {
		_, err := fmt.Fprintln(w, r.agreement())
		return err
	}
	_, err := fmt.Fprintln(w, "The verdict is another.")
	return err
}

// agreement says what it means that nothing differs.
func (r *replayed) agreement() string {
	for _, c := range r.Changes {
		if c.Then != "" {
			return "The verdict is the same."
		}
	}
	return "Nothing is on record to compare with."
}

func (r *replayed) since(at time.Time) string {
	return model.Duration(max(0, at.Sub(r.StartedAt)).Truncate(time.Second)).String()
}

func clockOf(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
