package bullmq

import "strconv"

// stopped is what BullMQ writes into the counter when a worker or a person
// stops a queue for a time: JavaScript's greatest integer.
const stopped = 1<<53 - 1

// limit judges the counter of the jobs that were begun within the rate limit's
// current window: whether the queue may begin no more. The limit of the whole queue
// is in its meta. That of a worker's own option is written nowhere: the most that
// was ever begun stands for it, while jobs wait.
func (v *visit) limit(counter any) {
	text, _ := counter.(string)
	begun, _ := strconv.ParseInt(text, 10, 64)
	v.limiterRead = true
	if begun >= stopped {
		v.rateLimited = true
		return
	}
	if v.maxRate > 0 {
		v.rateLimited = begun >= v.maxRate
		return
	}
	v.mostBegun = max(v.mostBegun, begun)
	v.rateLimited = begun > 0 && begun == v.mostBegun && v.line() > 0
}

// rateOf is the limit of the whole queue, as its meta says, or 0.
func rateOf(meta []any) int64 {
	text, _ := meta[metaMax].(string)
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}
