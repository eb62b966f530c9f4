package alerts

// queueRate finds a version whose workers complete fewer jobs than those of the old
// one beside them, for the time that they are there.
var queueRate = Gate{
	Name:     "queue_rate",
	Help:     "workers of the new version complete fewer jobs than those of the old one beside them, for the time they work: less than 1/1.5 as many, beyond chance, and not by one minute alone",
	Summary:  "The workers of the new version are slower than those of the old one beside them.",
	From:     fromWorkers,
	Mode:     Enforce,
	Unit:     "jobs a second and worker",
	Required: true,
	impact:   "jobs a second are completed by a worker of the new version of %s, fewer than by one of the old beside it",
	Applies:  tellsWorkers,
	Compare: func(counts Counts) Comparison {
		return Comparison{
			Sides:   []Side{{ByQueue: func(w Work) (exposure, events float64) { return w.Seconds, w.Completed }}},
			Noun:    "jobs completed",
			Missing: counts.Why, Terms: ofCompletions,
			Dispersion: counts.Pace.Completions, Settles: counts.Pace.settles(),
		}
	},
	alertQL: firesQL,
	drawQL:  observedQL,
}

// tellsFailures says whether anything tells which of their jobs fail.
func tellsFailures(s *Service) bool {
	if countsCompletions(s) {
		return s.Failures != ""
	}
	return s.WorkerTracks
}

// queueFailures finds a version under whose workers more jobs fail.
var queueFailures = Gate{
	Name:     "queue_failures",
	Help:     "more jobs fail under the workers of the new version than under those of the old one beside them, for the time they work: over 1.5 times as many, beyond chance, and not by one minute alone",
	Summary:  "More jobs fail under the workers of the new version than under those of the old one beside them.",
	From:     fromWorkers,
	Mode:     Enforce,
	Unit:     "jobs a second and worker",
	Required: true,
	impact:   "jobs a second fail under a worker of the new version of %s, more than under one of the old beside it",
	Applies:  tellsFailures,
	Compare: func(counts Counts) Comparison {
		return Comparison{
			Sides:   []Side{{ByQueue: func(w Work) (exposure, events float64) { return w.Seconds, w.Failed }}},
			Noun:    "jobs failed",
			Missing: counts.WhyFailures, Terms: ofFailures,
			Dispersion: counts.Pace.Failures,
		}
	},
	alertQL: firesQL,
	drawQL:  observedQL,
}
