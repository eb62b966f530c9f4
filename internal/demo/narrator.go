package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A narrator tells the story: a line an event and, on a terminal, a progress
// bar below the newest line.
type narrator struct {
	mu       sync.Mutex
	out      io.Writer
	terminal bool
	began    time.Time
	drawn    bool // the cursor stands behind a bar
}

// newNarrator tells on out, with colour and bars only where it is a terminal.
func newNarrator(out io.Writer) *narrator {
	file, ok := out.(*os.File)
	return &narrator{out: out, terminal: ok && term.IsTerminal(int(file.Fd())), began: time.Now()}
}

// colours of the words that matter, as ANSI codes.
var colours = map[string]string{
	"verdict": "1", "reason": "31", "fault": "33", "missing": "33", "webhook": "32", "advice": "36",
}

// sayf tells one event.
func (n *narrator) sayf(what, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wipe()
	label := fmt.Sprintf("%-8s", what)
	if colour := colours[what]; n.terminal && colour != "" {
		label = "\x1b[" + colour + "m" + label + "\x1b[0m"
	}
	fmt.Fprintf(n.out, "%5.1fs  %s  %s\n", time.Since(n.began).Seconds(), label, fmt.Sprintf(format, args...))
}

// barWidth is the length of a progress bar in characters.
const barWidth = 30

// bar draws how far something is, in percent; only a terminal shows it.
func (n *narrator) bar(percent int, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.terminal {
		return
	}
	n.wipe()
	full := min(max(percent, 0), 100) * barWidth / 100
	fmt.Fprintf(n.out, "        [%s%s] %s", strings.Repeat("=", full), strings.Repeat(" ", barWidth-full), text)
	n.drawn = true
}

// wipe removes a bar that was drawn.
func (n *narrator) wipe() {
	if n.drawn {
		fmt.Fprint(n.out, "\r\x1b[K")
		n.drawn = false
	}
}

// progress lets d pass under a bar, or returns the error of ctx.
func (n *narrator) progress(ctx context.Context, d time.Duration, text string) error {
	for began := time.Now(); time.Since(began) < d; {
		n.bar(int(100*time.Since(began)/d), text)
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
