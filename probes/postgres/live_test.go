package postgres

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/probe"
)

func TestMain(m *testing.M) { live.Main(m) }

const deadline = 3 * time.Second

// open makes the probe of a target as the configuration would.
func open(t *testing.T, address string) probe.Probe {
	t.Helper()
	return openConfig(t, &Config{Name: "main", URL: probe.NewSecret(address)})
}

func openConfig(t *testing.T, config *Config) probe.Probe {
	t.Helper()
	require.Empty(t, config.Validate())
	p, err := config.Open(nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// read reads once, as the collector would, and checks what holds of every Reading.
func read(t *testing.T, p probe.Probe) probe.Reading {
	t.Helper()
	reading, err := tryRead(t, p, deadline)
	require.NoError(t, err)
	return reading
}

func tryRead(t *testing.T, p probe.Probe, within time.Duration) (probe.Reading, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	reading, err := p.Read(ctx)
	if err != nil {
		return reading, err
	}
	require.Len(t, reading.Views, len(views)+len(p.(*reader).survey.chores), "the same views at every read")
	for _, v := range reading.Views {
		require.True(t, v.Err == nil || !strings.Contains(v.Err.Error(), "scan"), "%s: %v", v.Name, v.Err)
	}
	seen := map[string]bool{}
	for _, s := range reading.Samples {
		require.Contains(t, Metrics, s.Metric, "not in Metrics")
		key := s.Metric.Name + "\x00" + strings.Join(s.Labels, "\x00")
		require.False(t, seen[key], "series %s %q is there twice", s.Metric.Name, s.Labels)
		seen[key] = true
	}
	return reading, nil
}

// values are those of the samples of m with these labels, by name and value.
func values(r probe.Reading, m *probe.Metric, labels ...string) []float64 {
	var found []float64
	for _, s := range r.Samples {
		if s.Metric != m {
			continue
		}
		matches := true
		for i := 0; i+1 < len(labels); i += 2 {
			matches = matches && s.Labels[slices.Index(m.Labels, labels[i])] == labels[i+1]
		}
		if matches {
			found = append(found, s.Value)
		}
	}
	return found
}

// named is the metric with that name.
func named(name string) *probe.Metric {
	return Metrics[slices.IndexFunc(Metrics, func(m *probe.Metric) bool { return m.Name == name })]
}

func value(t *testing.T, r probe.Reading, m *probe.Metric, labels ...string) float64 {
	t.Helper()
	found := values(r, m, labels...)
	require.Len(t, found, 1, "%s %q", m.Name, labels)
	return found[0]
}

func total(r probe.Reading, m *probe.Metric, labels ...string) float64 {
	sum := 0.0
	for _, v := range values(r, m, labels...) {
		sum += v
	}
	return sum
}

func stateOfView(r probe.Reading, name string) probe.ViewState {
	for _, v := range r.Views {
		if v.Name == name {
			return v.State
		}
	}
	return ""
}

// eventually reads until what was read is as wanted: what is outside needs its time.
func eventually(t *testing.T, p probe.Probe, what string, wanted func(probe.Reading) bool) probe.Reading {
	t.Helper()
	var last probe.Reading
	require.Eventually(t, func() bool {
		last = read(t, p)
		return wanted(last)
	}, 20*time.Second, 50*time.Millisecond, what)
	return last
}

// connectTo opens a session of the test's own.
func connectTo(tb testing.TB, address string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), address)
	require.NoError(tb, err)
	tb.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

func queryInt(t *testing.T, conn *pgx.Conn, sql string) int64 {
	t.Helper()
	var n int64
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

// as is the address with another user and more parameters.
func as(t *testing.T, address string, user *url.Userinfo, parameters ...string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = user
	query := u.Query()
	for i := 0; i+1 < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	u.RawQuery = query.Encode()
	return u.String()
}
