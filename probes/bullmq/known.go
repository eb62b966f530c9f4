package bullmq

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A queue is one queue that is known, with what every reading needs of it made
// once: at 10,000 queues the text would otherwise be most of the work.
type queue struct {
	name   string
	base   string // <prefix>:<name>:
	keys   [len(states)]string
	meta   string
	counts [2]string // metrics:completed, metrics:failed
	check  string    // stalled-check
	stream string    // events

	label  []string // of the families by queue
	labels [len(states)][]string

	missed int // scans in a row that did not find it; guarded by known.mu

	// Kept from one reading to the next; Read's own.
	unserved  int       // readings in a row in which its active jobs had nobody
	suspects  []string  // keys of the locks of its active jobs, while they have nobody
	locked    int64     // how many of these there were when last asked
	head      string    // the job that was next in line
	headDue   time.Time // since when; zero when unknown
	mostBegun int64     // the most jobs ever seen within a window of the rate limit
	events    follower
	credits   map[outcome]float64
}

func newQueue(prefix, name string) *queue {
	q := &queue{name: name, base: prefix + ":" + name + ":", label: []string{name}}
	q.meta, q.check, q.stream = q.base+"meta", q.base+"stalled-check", q.base+"events"
	q.counts = [2]string{q.base + "metrics:completed", q.base + "metrics:failed"}
	for i, state := range states {
		q.keys[i] = q.base + state.key
		q.labels[i] = []string{name, state.name}
	}
	return q
}

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
	k.byName[name] = newQueue(k.prefix, name)
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
