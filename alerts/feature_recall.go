package alerts

import (
	"context"
	"slices"
	"sort"
	"time"

	"github.com/rollwatch/rollwatch/collector"
	"github.com/rollwatch/rollwatch/probes/feature"
)

// recallWorked looks up in the window what the probe has forgotten since the daemon
// was started anew: when a feature that fails now worked last, and since when it has
// failed. A tenant that no series tells of one by one, as one of over a thousand,
// stays unknown.
func recallWorked(ctx context.Context, broken []breakage, targets []string, scene Scene) error {
	if !slices.ContainsFunc(broken, func(b breakage) bool { return b.worked.IsZero() }) {
		return nil
	}
	span := Span{From: scene.Subject.StartedAt.Add(-workedWithin), To: scene.Now}
	ups, err := scene.probed(ctx, span, feature.UpMetric, nil, targets)
	if err != nil {
		return err
	}
	oldest, err := scene.probed(ctx, span, feature.OldestMetric, nil, targets)
	if err != nil {
		return err
	}
	for i := range broken {
		if b := &broken[i]; b.worked.IsZero() {
			target := scene.Service.Name + "/" + b.feature
			b.recall(seriesAt(ups, target, b.tenant), seriesAt(oldest, target, ""))
		}
	}
	return nil
}

// recall takes from the readings whether it worked (1) at each, and how old the
// result about a tenant may have been then, what is not known of the breakage.
func (b *breakage) recall(ups, oldest []collector.Point) {
	for i := range slices.Backward(ups) {
		if ups[i].V == 0 {
			continue
		}
		if i+1 < len(ups) {
			if failed := time.UnixMilli(ups[i+1].T); failed.Before(b.since) {
				b.since = failed
			}
		}
		// A reading tells the newest try, which may be long past.
		b.worked = time.UnixMilli(ups[i].T).Add(-ageAt(oldest, ups[i].T))
		return
	}
}

// ageAt is the newest value up to a time, in seconds.
func ageAt(points []collector.Point, at int64) time.Duration {
	i := sort.Search(len(points), func(i int) bool { return points[i].T > at })
	if i == 0 {
		return 0
	}
	return time.Duration(points[i-1].V * float64(time.Second))
}

// seriesAt are the points of the series of a target and a tenant.
func seriesAt(all []collector.Series, target, tenant string) []collector.Point {
	for _, s := range all {
		if s.Labels.Get("target") == target && s.Labels.Get("tenant") == tenant {
			return s.Points
		}
	}
	return nil
}
