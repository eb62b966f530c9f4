// Package simulate measures how good the judge is, and others beside it: labelled
// rollouts are played on simulated time, a scrape at a time, through the real gates
// and the real verdict, and through models of what other tools do. What they are
// told is counted, so that thousands of watches take minutes; a smaller share goes
// through series, the window and the whole evaluation, and must come out the same.
package simulate

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollwatch/rollwatch/alerts"
)

// Options say what is simulated.
type Options struct {
	Seeds  Seeds
	Nulls  int // runs of each cell in which a rollback is wrong
	Others int // runs of each other cell
	Probed int // runs of each cell that is told by probes, which are judged whole

	// Only says which cells are simulated; nil: all.
	Only func(s Scenario, r Rollout, rps float64) bool

	// Workers run at the same time; 0: one for each processor. The result does not
	// depend on it.
	Workers int

	// Progress is told how many of all runs are done.
	Progress func(done, all int)
}

// A Cell is one scenario at one traffic by one strategy, and what each judge made
// of it.
type Cell struct {
	Scenario *Scenario
	Rollout  Rollout
	RPS      float64
	Ours     Measure
	Parts    [parts]Measure // ours by the guarded rule alone, and by comparing alone
	Others   []Measure      // by Policies
	Swept    []Measure      // by Swept, where curves are made
}

// The parts of our judge that are measured alone.
const (
	ruleAlone = iota
	comparingAlone
	parts
)

// partNames are how readers know them.
var partNames = [parts]string{"rollwatch, the guarded rule alone", "rollwatch, comparing alone"}

// inPart says which gates belong to a part.
var inPart = [parts]func(alerts.Gate) bool{
	func(g alerts.Gate) bool { return g.Count != nil },
	func(g alerts.Gate) bool { return g.Compare != nil },
}

// Result is everything that was simulated.
type Result struct {
	Options Options
	Cells   []*Cell
	Judging time.Duration // by our judge, of one processor
	Watches int           // it judged
}

// key tells the cell from all others, and seeds it.
func (c *Cell) key() string { return fmt.Sprintf("%s/%s/%g", c.Scenario.Number, c.Rollout.Name, c.RPS) }

// curved says whether the curves are made of the cell: of those that the others see
// as well, and which are not the same to them as another one.
func (c *Cell) curved() bool {
	s := c.Scenario
	return c.Rollout.Name == curveRollout && c.RPS >= 2 && !s.Probes && !s.Workers && !s.tellsTenants()
}

// curveRollout is the strategy for which curves are made.
const curveRollout = "canary 10 %"

// in says whether the scenario is played under a rollout.
func (s *Scenario) in(r Rollout) bool { return s.Only == nil || s.Only(r) }

// null says whether a rollback is wrong.
func (s *Scenario) null() bool { return s.Label == Keep || s.Label == Hold }

// runs is how often the cell is simulated.
func (o Options) runs(c *Cell) int {
	switch {
	case c.Scenario.Probes:
		return o.Probed
	case c.Scenario.tellsTenants() && c.Scenario.null():
		return max(2, o.Nulls/costly)
	case c.Scenario.tellsTenants():
		return max(2, o.Others/costly)
	case c.Scenario.null():
		return o.Nulls
	default:
		return o.Others
	}
}

// costly is how many times fewer runs a cell has whose tenants are told.
const costly = 100

// A chunk is some of the runs of a cell: what one worker does at a time.
type chunk struct {
	cell     *Cell
	from, to int
	result   Cell
	judging  time.Duration
	err      error
}

// chunkRuns is how many runs a chunk has.
const chunkRuns = 50

// Run simulates. The result depends on the options alone, but for what it cost.
func Run(ctx context.Context, o Options) (*Result, error) {
	r := &Result{Options: o}
	var chunks []*chunk
	all := 0
	for _, cell := range o.cells() {
		r.Cells = append(r.Cells, cell)
		for from := 0; from < o.runs(cell); from += chunkRuns {
			chunks = append(chunks, &chunk{cell: cell, from: from, to: min(from+chunkRuns, o.runs(cell))})
		}
		all += o.runs(cell)
	}
	o.work(ctx, chunks, all)
	for _, c := range chunks {
		if c.err != nil {
			return nil, c.err
		}
		c.cell.merge(&c.result)
		r.Judging += c.judging
		r.Watches += c.to - c.from
	}
	return r, ctx.Err()
}

// cells are those that are simulated.
func (o Options) cells() []*Cell {
	var cells []*Cell
	for i := range Scenarios {
		for _, rollout := range Rollouts {
			for _, rps := range Traffics {
				if Scenarios[i].in(rollout) && (o.Only == nil || o.Only(Scenarios[i], rollout, rps)) {
					cells = append(cells, &Cell{Scenario: &Scenarios[i], Rollout: rollout, RPS: rps})
				}
			}
		}
	}
	return cells
}

// work lets the workers run the chunks.
func (o Options) work(ctx context.Context, chunks []*chunk, all int) {
	workers := o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next, done atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			var w worker
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(chunks) {
					return
				}
				w.run(ctx, o.Seeds, chunks[i])
				n := done.Add(int64(chunks[i].to - chunks[i].from))
				if o.Progress != nil {
					o.Progress(int(n), all)
				}
			}
		})
	}
	group.Wait()
}

// A worker keeps what one run needs for the next.
type worker struct {
	world   world
	history history
}

func (w *worker) run(ctx context.Context, seeds Seeds, c *chunk) {
	c.result.Scenario, c.result.Rollout, c.result.RPS = c.cell.Scenario, c.cell.Rollout, c.cell.RPS
	c.result.Others = make([]Measure, len(Policies))
	if c.cell.curved() {
		c.result.Swept = make([]Measure, len(Swept))
	}
	for i := c.from; i < c.to && c.err == nil; i++ {
		w.world.begin(c.cell.Scenario, c.cell.Rollout, c.cell.RPS, seeds.source(c.cell.key(), i), i)
		c.err = w.judge(ctx, c)
	}
}

// judge lets every judge have one world.
func (w *worker) judge(ctx context.Context, c *chunk) error {
	s := c.cell.Scenario
	w.history.past(&w.world) // before ours, which may promote: the others see the watch alone
	for i, p := range Policies {
		if p.judges(c.cell.Rollout) {
			c.result.Others[i].add(s, p.outcome(&w.history))
		}
	}
	if c.cell.curved() {
		for i, p := range Swept {
			c.result.Swept[i].add(s, p.outcome(&w.history))
		}
		for i, keep := range inPart {
			out, err := judgeOnce(ctx, &w.world, keep, true)
			if err != nil {
				return err
			}
			c.result.Parts[i].add(s, out)
		}
	}
	begin := time.Now()
	out, err := judgeOnce(ctx, &w.world, nil, false)
	c.judging += time.Since(begin)
	c.result.Ours.add(s, out)
	return err
}

// judgeOnce lets our judge have a world, to its end or to that of the watch.
func judgeOnce(ctx context.Context, w *world, keep func(alerts.Gate) bool, watchOnly bool) (Outcome, error) {
	o, err := newOurs(w, keep)
	if err != nil {
		return Outcome{}, err
	}
	o.watchOnly = watchOnly
	return o.judge(ctx)
}

func (c *Cell) merge(o *Cell) {
	c.Ours.merge(&o.Ours)
	for i := range o.Parts {
		c.Parts[i].merge(&o.Parts[i])
	}
	c.Others, c.Swept = mergeAll(c.Others, o.Others), mergeAll(c.Swept, o.Swept)
}

func mergeAll(into, from []Measure) []Measure {
	into = slices.Grow(into, len(from))
	for len(into) < len(from) {
		into = append(into, Measure{})
	}
	for i := range from {
		into[i].merge(&from[i])
	}
	return into
}
