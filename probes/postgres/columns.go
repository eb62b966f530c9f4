package postgres

import (
	"strconv"
	"strings"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// A column is one number of a row, and the metric that it becomes. Views whose
// rows are numbers behind a few labels are tables of columns.
type column struct {
	expr   string // SQL
	metric *probe.Metric
	since  int // the server_version_num that brought it; 0: always there
}

// selected writes columns as a select list; those that came later are NULL.
func selected(at here, columns []column) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		expr := c.expr
		if at.version < c.since {
			expr = "NULL"
		}
		list[i] = "(" + expr + ")::float8"
	}
	return strings.Join(list, ", ")
}

// since14 says that PostgreSQL 14 brought a column.
func (c column) since14() column {
	c.since = 140000
	return c
}

// takeColumns reads every row: so many labels, then the columns. A metric with
// fewer labels has the last of them. A NULL is no sample.
func takeColumns(c *cycle, r *rows, labels int, columns []column) error {
	names := make([]string, labels)
	values := make([]*float64, len(columns))
	into := make([]any, 0, labels+len(columns))
	for i := range names {
		into = append(into, &names[i])
	}
	for i := range values {
		into = append(into, &values[i])
	}
	for r.Next() {
		if err := scan(r, into...); err != nil {
			return err
		}
		own := append([]string(nil), names...)
		for i, column := range columns {
			c.addKnown(column.metric, values[i], own[labels-len(column.metric.Labels):]...)
		}
	}
	return nil
}

func number(n int) string { return strconv.Itoa(n) }

func metricsOf(columns []column) []*probe.Metric {
	metrics := make([]*probe.Metric, 0, len(columns))
	for _, c := range columns {
		metrics = append(metrics, c.metric)
	}
	return metrics
}

// A family is where the metrics of one table of columns come from.
type family struct {
	source string
	labels []string
	note   string
}

func (f family) gauge(expr, name, unit, help string) column {
	return column{expr: expr, metric: &probe.Metric{
		Name: name, Type: probe.Gauge, Unit: unit, Labels: f.labels, Help: help, Source: f.source, Note: f.note,
	}}
}

func (f family) counter(expr, name, unit, help string) column {
	c := f.gauge(expr, name, unit, help)
	c.metric.Type = probe.Counter
	if !strings.HasSuffix(name, "_total") && f.note == "" {
		c.metric.Note = "The name is postgres_exporter's, though it lacks _total; it is exposed untyped, so that OpenMetrics does not add it."
	}
	return c
}

// with is the family with a note of its own.
func (f family) with(note string) family {
	f.note = note
	return f
}
