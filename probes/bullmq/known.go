package bullmq

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A queue is one queue that is known, with what every reading needs of it made
// once and lying together: at 10,000 queues text that is made anew, and memory
// that lies about, would otherwise be most of the work.
type queue struct {
	name    string
	base    string // <prefix>:<name>:
	keys    [len(states)]string
	meta    string
	counts  [2]string // metrics:completed, metrics:failed
	check   string    // stalled-check
	limiter string
	stream  string // events

	pairs   [len(states)][2]string // labels of the families by queue and state
	sources [2][2]string           // by queue and source

	phase  int // in which of the turns it is asked what is asked in turns
	missed int // scans in a row that did not find it; guarded by known.mu

	schedule atomic.Pointer[schedule] // nil before a survey; Discover's own to set

	// Kept from one reading to the next; Read's own.
	slow
	unserved  int       // readings in a row in which its active jobs had nobody
	suspects  []string  // keys of the locks of its active jobs, while they have nobody
	locked    int64     // how many of these there were when last asked
	head      string    // the job that was next in line
	headDue   time.Time // since when; zero when unknown
	mostBegun int64     // the most jobs ever seen within a window of the rate limit
	events    follower
	credits   map[outcome]float64
}

// A slow is what is asked of many queues in turns, as it was last answered.
type slow struct {
	described   bool // paused, maxEvents and maxRate are known
	paused      bool
	maxEvents   int   // that its stream keeps; 0 when the queue does not say
	maxRate     int64 // the limit of the whole queue; 0 when it has none
	overdue     int64
	timed       bool // overdue is known
	limiterRead bool
	rateLimited bool
}

func newQueue(prefix, name string) *queue {
	q := &queue{}
	ends := []struct {
		of  *string
		end string
	}{
		{&q.meta, "meta"}, {&q.counts[0], "metrics:completed"}, {&q.counts[1], "metrics:failed"},
		{&q.check, "stalled-check"}, {&q.limiter, "limiter"}, {&q.stream, "events"},
	}
	base := prefix + ":" + name + ":"
	var text strings.Builder
	for i, state := range states {
		text.WriteString(base + state.key)
		q.pairs[i][1] = state.name
	}
	for _, key := range ends {
		text.WriteString(base + key.end)
	}
	all := text.String()
	cut := func(n int) (key string) {
		key, all = all[:n], all[n:]
		return key
	}
	for i, state := range states {
		q.keys[i] = cut(len(base) + len(state.key))
	}
	for _, key := range ends {
		*key.of = cut(len(base) + len(key.end))
	}
	q.base = q.meta[:len(base)]
	q.name = q.base[len(prefix)+1 : len(base)-1]
	for i := range q.pairs {
		q.pairs[i][0] = q.name
	}
	q.sources = [2][2]string{{q.name, "metrics"}, {q.name, "events"}}
	return q
}

// label is that of the families by queue.
func (q *queue) label() []string { return q.pairs[0][:1:1] }

// maxQueues is the most queues that one target reads: what a Redis can answer
// within the deadline of a reading, and more than anybody has.
const maxQueues = 20_000

// A queue that this many scans in a row did not find is forgotten. One is not
// enough: a queue can be obliterated and made again while a scan passes.
const forgetAfter = 2

// known are the queues that are known. Read asks for them while Discover
// changes them.
type known struct {
	prefix string
	fixed  bool // named by the configuration: nothing is discovered

	mu      sync.Mutex
	byName  map[string]*queue
	made    int        // queues added so far
	ordered []*queue   // by name; nil when byName has changed
	surplus int        // queues found over maxQueues
	scan    probe.View // how the last scan went
}

func newKnown(prefix string, only []string) *known {
	k := &known{
		prefix: prefix, fixed: len(only) > 0, byName: map[string]*queue{},
		scan: probe.View{Name: viewScan, State: probe.ViewAbsent},
	}
	if k.fixed {
		k.scan.State = probe.ViewRead
	}
	for _, name := range only {
		k.add(name)
	}
	return k
}

// add is called with mu held, or before anybody else knows k.
func (k *known) add(name string) {
	if _, ok := k.byName[name]; ok || len(k.byName) >= maxQueues {
		return
	}
	q := newQueue(k.prefix, name)
	q.phase, k.made = k.made%turns, k.made+1
	k.byName[name] = q
	k.ordered = nil
}

// learn adds the queues that have somebody connected.
func (k *known) learn(crews map[string]crew) {
	if k.fixed {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for name := range crews {
		k.add(name)
	}
}

// scanned takes the queues that a whole scan found.
func (k *known) scanned(found map[string]bool, view probe.View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.scan = view
	for name, q := range k.byName {
		if found[name] {
			q.missed = 0
		} else if q.missed++; q.missed >= forgetAfter {
			delete(k.byName, name)
			k.ordered = nil
		}
	}
	for name := range found {
		k.add(name)
	}
	k.surplus = 0
	for name := range found {
		if k.byName[name] == nil {
			k.surplus++
		}
	}
}

// failed takes a scan that did not come to its end: nothing is forgotten.
func (k *known) failed(view probe.View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.scan = view
}

// snapshot is what is known now, by name.
func (k *known) snapshot() (queues []*queue, surplus int, scan probe.View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ordered == nil {
		k.ordered = make([]*queue, 0, len(k.byName))
		for _, q := range k.byName {
			k.ordered = append(k.ordered, q)
		}
		slices.SortFunc(k.ordered, func(a, b *queue) int { return strings.Compare(a.name, b.name) })
	}
	return k.ordered, k.surplus, k.scan
}
