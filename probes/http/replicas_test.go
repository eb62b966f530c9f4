package http

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crypto/tls"

	"github.com/stretchr/testify/require"
)

func host(server *httptest.Server) string { return strings.TrimPrefix(server.URL, "http://") }

func TestEachReplicaIsAskedBesideTheBalancer(t *testing.T) {
	balancer := serve(t, answer(200, `{"status":"ok","version":"1.4.0"}`))
	old := serve(t, answer(200, `{"status":"ok","version":"1.4.0"}`))
	ill := serve(t, answer(503, `{"status":"error","details":{"database":{"status":"down"}},"version":"1.5.0"}`))
	gone := httptest.NewServer(nil)
	gone.Close()
	config := &Config{URL: balancer.URL, Replicas: []string{old.URL + "/health", ill.URL, gone.URL, ill.URL}}
	r := mustRead(t, config)
	require.Empty(t, r.Ill, "the service is what its balancer says")
	require.Equal(t, 1.0, valueOf(r, healthy))
	require.Equal(t, 1.0, valueOf(r, replicaHealthy, host(old)))
	require.Equal(t, 0.0, valueOf(r, replicaHealthy, host(ill)))
	require.Equal(t, 0.0, valueOf(r, replicaHealthy, host(gone)))
	require.Equal(t, 1.0, valueOf(r, replicaVersion, host(old), "1.4.0"))
	require.Equal(t, 1.0, valueOf(r, replicaVersion, host(ill), "1.5.0"))
	require.Nil(t, valueOf(r, replicaDuration, host(gone)))
	said := r.Details["replicas"].(map[string]any)
	require.Len(t, said, 3)
	require.Equal(t, "up", said[host(old)])
	require.Equal(t, "status 503, error: database down", said[host(ill)])
	require.Contains(t, said[host(gone)], "connection refused")

	// The balancer is gone, and the replicas are not.
	balancer.Close()
	_, err := read(t, config)
	require.ErrorContains(t, err, "2 of 3 replicas answer")
}

func TestEveryAddressOfANameIsAReplica(t *testing.T) {
	server := serve(t, answer(200, `{"ok":true}`))
	config := &Config{URL: server.URL, Replicas: []string{"dns+" + strings.Replace(server.URL, "127.0.0.1", "localhost", 1)}}
	require.Equal(t, 1.0, valueOf(mustRead(t, config), replicaHealthy, host(server)))
	config.Replicas = []string{"dns+http://replicas.invalid:3000/"}
	r := mustRead(t, config)
	require.Equal(t, 0.0, valueOf(r, replicaHealthy, "replicas.invalid:3000"))
	require.Contains(t, r.Details["replicas"].(map[string]any)["replicas.invalid:3000"], "look up replicas")
}

func TestThePhasesOfARequestAreItsTime(t *testing.T) {
	const thinking = 50 * time.Millisecond
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(thinking):
		case <-r.Context().Done():
		}
		answer(200, "OK")(w, r)
	})
	r := mustRead(t, &Config{URL: server.URL})
	require.GreaterOrEqual(t, valueOf(r, phaseTime, "processing"), thinking.Seconds())
	require.Positive(t, valueOf(r, phaseTime, "connect"))
	require.Zero(t, valueOf(r, phaseTime, "resolve"), "an address needs no look-up")
	require.Zero(t, valueOf(r, phaseTime, "tls"))
	require.Nil(t, valueOf(r, tlsExpiry), "no TLS, no expiry")
	sum := 0.0
	for _, phase := range phaseNames {
		sum += valueOf(r, phaseTime, phase).(float64)
	}
	require.LessOrEqual(t, sum, valueOf(r, duration).(float64)+0.001)
}

func TestTheFirstCertificateToExpireIsDated(t *testing.T) {
	server := httptest.NewTLSServer(answer(200, "OK"))
	t.Cleanup(server.Close)
	p := newProbe(Config{Name: "api", URL: server.URL})
	defer func() { require.NoError(t, p.Close()) }()
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	p.transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	r, err := p.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, float64(server.Certificate().NotAfter.Unix()), valueOf(r, tlsExpiry))
	require.Positive(t, valueOf(r, phaseTime, "tls"))
}

func TestWhatAComponentObservedIsANumber(t *testing.T) {
	server := serve(t, answer(200, `{"status":"pass","checks":{
		"postgres:responseTime":[{"status":"pass","observedValue":12.5,"observedUnit":"ms"}],
		"cpu":[{"status":"pass","observedValue":1},{"status":"warn","observedValue":2}],
		"note":[{"status":"pass","observedValue":"high"}]}}`))
	r := mustRead(t, &Config{URL: server.URL})
	require.Equal(t, 12.5, valueOf(r, componentValue, "postgres:responseTime", "ms"))
	require.Nil(t, valueOf(r, componentValue, "cpu", ""), "two have no one value")
	require.Nil(t, valueOf(r, componentValue, "note", ""))
}

func TestARouteWrittenByHandMaySayOK(t *testing.T) {
	require.Empty(t, mustRead(t, &Config{URL: serve(t, answer(200, `{"ok":true,"uptime":12}`)).URL}).Ill)
	require.Equal(t, "status 200, not ok", mustRead(t, &Config{URL: serve(t, answer(200, `{"ok":false}`)).URL}).Ill)
}
