package alerts

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/feature"
)

// A memory is what the window has of features from the hour before the rollout on: the
// points of each series by its metric, target and tenant.
type memory map[[3]string][]collector.Point

// recallWorked looks up in the window what the probe has forgotten since the daemon
// was started anew: when a feature that fails now worked last, and since when it has
// failed. One of over a thousand tenants is told of only while it fails: one that
// had not failed by then stays unknown.
func recallWorked(ctx context.Context, broken []breakage, targets []string, scene Scene) error {
	if !slices.ContainsFunc(broken, func(b breakage) bool { return b.worked.IsZero() }) {
		return nil
	}
	span := Span{From: scene.Subject.StartedAt.Add(-workedWithin), To: scene.Now}
	past := memory{}
	for _, metric := range []string{feature.UpMetric, feature.OldestMetric, feature.FailingMetric, feature.LastSuccessMetric} {
		series, err := scene.probed(ctx, span, metric, nil, targets)
		if err != nil {
			return err
		}
		for _, s := range series {
			past[[3]string{metric, s.Labels.Get("target"), s.Labels.Get("tenant")}] = s.Points
		}
	}
	for i := range broken {
		if b := &broken[i]; b.worked.IsZero() {
			b.recall(past, scene.Service.Name+"/"+b.feature)
		}
	}
	return nil
}

// recall takes what is not known of the breakage from the newest reading that tells
// when it worked: one of a feature that worked, or one of a feature that failed and
// was known to have worked, which tells both times exactly.
func (b *breakage) recall(past memory, target string) {
	of := func(metric string) []collector.Point { return past[[3]string{metric, target, b.tenant}] }
	ups, failing, worked := of(feature.UpMetric), of(feature.FailingMetric), of(feature.LastSuccessMetric)
	up := len(ups) - 1
	for up >= 0 && ups[up].V == 0 {
		up--
	}
	if last := len(worked) - 1; last >= 0 && (up < 0 || worked[last].T > ups[up].T) {
		// Without the beginning of that failure what was broken long before would seem new.
		if i := upTo(failing, worked[last].T); i >= 0 && failing[i].T == worked[last].T {
			b.worked = unixSeconds(worked[last].V)
			b.failedBy(unixSeconds(failing[i].V))
			return
		}
	}
	if up < 0 {
		return
	}
	if up+1 < len(ups) {
		b.failedBy(time.UnixMilli(ups[up+1].T))
	}
	// A reading tells the newest try, which may be long past.
	b.worked = time.UnixMilli(ups[up].T).Add(-ageAt(past[[3]string{feature.OldestMetric, target, ""}], ups[up].T))
}

// failedBy takes into account that it failed at a time.
func (b *breakage) failedBy(t time.Time) {
	if t.Before(b.since) {
		b.since = t
	}
}

// ageAt is the newest value up to a time, in seconds.
func ageAt(points []collector.Point, t int64) time.Duration {
	i := upTo(points, t)
	if i < 0 {
		return 0
	}
	return time.Duration(points[i].V * float64(time.Second))
}

// upTo is the index of the newest point up to a time, -1 when there is none.
func upTo(points []collector.Point, t int64) int {
	return sort.Search(len(points), func(i int) bool { return points[i].T > t }) - 1
}
