package bullmq

import (
	"encoding/base64"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/rollwatch/rollwatch/probes/redis"
)

// validName says whether a queue can have this name. BullMQ refuses a colon,
// which separates the parts of a key.
func validName(name string) bool {
	return name != "" && len(name) <= 256 && utf8.ValidString(name) && !strings.Contains(name, ":")
}

// A crew is who works on one queue.
type crew struct {
	workers int
	tracks  map[string]int // workers by track; a worker may be of several, or of none
}

// addCrews counts the workers of each queue of the prefix in an answer to CLIENT
// LIST. A queue that only somebody else is connected for has a crew of none.
func addCrews(found map[string]crew, list, prefix string, tracks map[string]*regexp.Regexp) {
	for name := range redis.ClientNames(list) {
		queue, worker, works := workerName(name, prefix)
		if queue == "" {
			continue
		}
		c := found[queue]
		if works {
			c.workers++
		}
		for track, pattern := range tracks {
			if works && pattern.MatchString(worker) {
				if c.tracks == nil {
					c.tracks = map[string]int{}
				}
				c.tracks[track]++
			}
		}
		found[queue] = c
	}
}

// workerName understands the name that BullMQ gives to a connection:
// <prefix>:<queue in base64>, and then nothing or :w:<worker> for a worker's,
// :qe for a listener to the queue's events. queue is empty for any other name.
func workerName(name, prefix string) (queue, worker string, works bool) {
	rest, ok := strings.CutPrefix(name, prefix+":")
	if !ok {
		return "", "", false
	}
	encoded, role, named := strings.Cut(rest, ":")
	worker, works = strings.CutPrefix(role, "w:")
	if named && !works && role != "qe" {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	queue = string(decoded)
	switch {
	case err != nil || !validName(queue):
		return "", "", false
	case works:
		return queue, worker, true
	default:
		return queue, "", !named
	}
}
