package redis

import (
	"fmt"
	"strconv"
	"strings"
)

// An Info is an answer to INFO: what stands behind the colon, by field.
type Info map[string]string

// ParseInfo understands the text of an INFO answer. Whatever is not a line of
// the form field:value is passed over; every text in the result is valid UTF-8.
func ParseInfo(text string) Info {
	info := Info{}
	for line := range strings.Lines(strings.ToValidUTF8(text, "?")) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "#") {
			continue
		}
		if field, value, ok := strings.Cut(line, ":"); ok && field != "" {
			info[field] = value
		}
	}
	return info
}

// Number is a field's value as a number: words for yes and no are 1 and 0. It
// is not ok when the field is missing, is no number, or is negative, which is
// how Redis says that there is none (never saved, link down).
func (i Info) Number(field string) (value float64, ok bool) {
	return number(i[field])
}

// number is Number of a value. Only plain decimals count: no NaN, no Inf, no hex.
func number(text string) (value float64, ok bool) {
	switch text {
	case "ok", "up", "yes":
		return 1, true
	case "err", "fail", "down", "no":
		return 0, true
	}
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	value, err := strconv.ParseFloat(text, 64)
	return value, err == nil
}

// Fields is a field's value of the form a=1,b=2.
func (i Info) Fields(field string) map[string]string {
	fields := map[string]string{}
	for part := range strings.SplitSeq(i[field], ",") {
		if key, value, ok := strings.Cut(part, "="); ok {
			fields[key] = value
		}
	}
	return fields
}

// EvictionWarning says what is wrong with the server's eviction policy for a
// library that keeps jobs or tasks in it, empty when nothing is or it is unknown.
func (i Info) EvictionWarning(library, lost string) string {
	if safe, ok := i.EvictionSafe(); !ok || safe {
		return ""
	}
	return fmt.Sprintf("the eviction policy of its Redis is %s: %s may be dropped when memory runs out; %s needs noeviction",
		i["maxmemory_policy"], lost, library)
}

// EvictionSafe says whether the server keeps every key until it is deleted or
// expires. With another policy than noeviction it may drop the keys of a queue
// when memory runs out. It is not ok when the server does not say.
func (i Info) EvictionSafe() (safe, ok bool) {
	policy, ok := i["maxmemory_policy"]
	return policy == "noeviction", ok
}
