package bullmq

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/probes/probe"
	"github.com/rollwatch/rollwatch/probes/redis"
)

func crews(list, prefix string, tracks map[string]*regexp.Regexp) map[string]crew {
	found := map[string]crew{}
	addCrews(found, list, prefix, tracks)
	return found
}

func TestTheNamesOfConnectionsAreUnderstood(t *testing.T) {
	for _, tc := range []struct {
		prefix, name  string
		queue, worker string
		works         bool
	}{
		{"bull", "bull:YWN0", "act", "", true},
		{"bull", "bull:YWN0:w:host-1", "act", "host-1", true},
		{"bull", "bull:YWN0:w:a:b", "act", "a:b", true},
		{"bull", "bull:YWN0:qe", "act", "", false},
		{"bull", "bull:YWN0:other", "", "", false},
		{"bull", "bull:act", "", "", false},
		{"bull", "bull:team:YWN0", "", "", false},
		{"bull:team", "bull:team:YWN0", "act", "", true},
		{"{app}:x", "{app}:x:YWN0", "act", "", true},
		{"bull", "bull:", "", "", false},
		{"bull", "bull:Og==", "", "", false}, // a colon
		{"bull", "bull:/w==", "", "", false}, // not UTF-8
		{"bull", "ioredis", "", "", false},
	} {
		queue, worker, works := workerName(tc.name, tc.prefix)
		require.Equal(t, tc.queue, queue, tc.name)
		require.Equal(t, tc.worker, worker, tc.name)
		require.Equal(t, tc.works, works, tc.name)
	}
}

func TestAQueueIsForgottenAfterTwoScansWithoutIt(t *testing.T) {
	k := newKnown("bull", nil)
	names := func() (names []string) {
		queues, _, _ := k.snapshot()
		for _, q := range queues {
			names = append(names, q.name)
		}
		return names
	}
	scanned := func(found ...string) {
		set := map[string]bool{}
		for _, name := range found {
			set[name] = true
		}
		k.scanned(set, probe.View{Name: viewScan, State: probe.ViewRead})
	}
	scanned("b", "a")
	require.Equal(t, []string{"a", "b"}, names())
	scanned("a")
	k.failed(probe.View{Name: viewScan, State: probe.ViewFailed})
	require.Equal(t, []string{"a", "b"}, names(), "once is not enough, and a scan that failed is none")
	scanned("a", "b")
	scanned("a")
	require.Equal(t, []string{"a", "b"}, names(), "not twice in a row")
	scanned("a")
	require.Equal(t, []string{"a"}, names())
	k.learn(map[string]crew{"c": {}})
	require.Equal(t, []string{"a", "c"}, names())
}

func TestMoreQueuesThanCanBeReadAreSaid(t *testing.T) {
	k := newKnown("bull", nil)
	found := map[string]bool{}
	for i := range maxQueues + 7 {
		found[fmt.Sprint(i)] = true
	}
	k.scanned(found, probe.View{})
	queues, surplus, _ := k.snapshot()
	require.Len(t, queues, maxQueues)
	require.Equal(t, 7, surplus)
}

func TestAJobIsDueWhenItsDelayHasPassed(t *testing.T) {
	for _, tc := range []struct {
		fields []any
		due    int64
		ok     bool
	}{
		{[]any{"1000", "0", `{"attempts":0}`}, 1000, true},
		{[]any{"1000", "500", `{"delay":500}`}, 1500, true},
		{[]any{"1000", "0", `{"delay":500}`}, 1500, true},
		{[]any{"1000", nil, nil}, 1000, true},
		{[]any{"1000", "0", `not json`}, 1000, true},
		{[]any{nil, nil, nil}, 0, false},
		{[]any{"x", "0", "{}"}, 0, false},
	} {
		due, ok := dueSince(tc.fields)
		require.Equal(t, tc.ok, ok, tc.fields)
		if ok {
			require.Equal(t, time.UnixMilli(tc.due), due, tc.fields)
		}
	}
}

func TestFaultsOfTheConfiguration(t *testing.T) {
	good := Config{Name: "jobs", Kind: Kind, Redis: "main"}
	require.Empty(t, good.Validate())
	require.Equal(t, "redis:main/bull:*", good.Address())
	require.Empty(t, (&Config{Name: "jobs"}).Address(), "without a redis it is left out")
	for path, spoil := range map[string]func(*Config){
		"$.name":                 func(c *Config) { c.Name = "" },
		"$.redis":                func(c *Config) { c.Redis = "" },
		"$.prefix":               func(c *Config) { c.Prefix = "bull:" },
		"$.only[1]":              func(c *Config) { c.Only = []string{"a", "bull:b"} },
		"$.max_failed":           func(c *Config) { c.MaxFailed = new(-1) },
		"$.worker_tracks.canary": func(c *Config) { c.WorkerTracks = map[string]string{"canary": "("} },
	} {
		c := good
		spoil(&c)
		faults := c.Validate()
		require.Len(t, faults, 1, path)
		require.Equal(t, path, faults[0].Path)
		require.NotEmpty(t, faults[0].Problem)
		require.NotEmpty(t, faults[0].Cure)
	}
}

func FuzzCrews(f *testing.F) {
	f.Add("id=3 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=8 name=bull:YWN0:w:v2-a age=1 lib-name=ioredis\nid=4 name=bull:YWN0 age=2\r\n")
	f.Add("id=3 name= db=0\nname=bull:YWN0\n x name=bull:/w==:qe")
	tracks := map[string]*regexp.Regexp{"canary": regexp.MustCompile("^v2-")}
	f.Fuzz(func(t *testing.T, list string) {
		lines := strings.Count(list, "\n") + 1
		all := 0
		for name, c := range crews(list, "bull", tracks) {
			if name == "" || !utf8.ValidString(name) || strings.Contains(name, ":") {
				t.Fatalf("queue %q", name)
			}
			if c.tracks["canary"] > c.workers {
				t.Fatalf("%q: %+v", name, c)
			}
			all += c.workers
		}
		if all > lines {
			t.Fatalf("%d workers in %d lines", all, lines)
		}
	})
}

func FuzzEventsLeaveABoundedMemory(f *testing.F) {
	f.Add("1700000000000-0", "active", "7")
	f.Add("", "completed", "")
	f.Add("-", "waiting", "\x00")
	f.Fuzz(func(t *testing.T, event, kind, job string) {
		v := &visit{queue: newQueue("bull", "mail")}
		var events []goredis.XMessage
		for i := range 2 * maxUnderWay {
			events = append(events,
				goredis.XMessage{ID: event, Values: map[string]any{"event": kind, "jobId": fmt.Sprint(job, i)}},
				goredis.XMessage{ID: event, Values: map[string]any{"event": "active", "jobId": fmt.Sprint(i)}})
		}
		v.take(events, &budget{events: 1, bytes: 1})
		if len(v.events.underWay) > maxUnderWay {
			t.Fatalf("%d jobs are remembered", len(v.events.underWay))
		}
	})
}

// Of many queues one that is quiet is asked for its events in turns. Whether it is, only
// an answer tells.
func TestAQueueThatDidNotAnswerIsNotQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		quiet bool
	}{
		"nothing new":     {goredis.Nil, true},
		"no permission":   {errors.New("NOPERM no permission to run the command"), false},
		"another's shape": {errors.New("WRONGTYPE Operation against a key"), false},
	} {
		t.Run(name, func(t *testing.T) {
			q := pages{[]*visit{{queue: &queue{}}}, goredis.NewXStreamSliceCmd(t.Context(), "xread")}
			q.read.SetErr(c.err)
			left := budget{}
			takePages([]pages{q}, firstPage, &left, redis.NewViews(viewEvents))
			require.Equal(t, c.quiet, q.about[0].events.quiet)
		})
	}
}
