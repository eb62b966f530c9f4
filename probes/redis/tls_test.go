package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rollwatch/rollwatch/internal/live"
	"github.com/rollwatch/rollwatch/probes/redis"
	"github.com/rollwatch/rollwatch/probes/redis/redistest"
)

// certificate writes a certificate that vouches for itself, for the name cache.test.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"cache.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", keyDER)
}

func TestAServerBehindTLSIsReadByWhoTrustsIt(t *testing.T) {
	cert, key := certificate(t)
	port := live.FreePort(t)
	live.Redis(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "yes")
	us := redis.TLS{CAFile: cert, CertFile: cert, KeyFile: key, ServerName: "cache.test"}

	for _, scheme := range []string{"redis", "rediss"} {
		config := target(scheme + "://127.0.0.1:" + port)
		config.TLS = &us
		require.Contains(t, redistest.Names(redistest.ReadOnly(t, open(t, config))), "redis_memory_used_bytes", scheme)
	}

	for problem, spoil := range map[string]func(*redis.TLS){
		"certificate signed by unknown authority": func(c *redis.TLS) { c.CAFile = "" },
		"doesn't contain any IP SANs":             func(c *redis.TLS) { c.ServerName = "" },
		"no such file":                            func(c *redis.TLS) { c.CAFile = "/no/such/file" },
		"":                                        func(c *redis.TLS) { c.CertFile, c.KeyFile = "", "" }, // it hangs up, before or after it says why
	} {
		config := target("rediss://127.0.0.1:" + port)
		other := us
		spoil(&other)
		config.TLS = &other
		_, err := open(t, config).Read(t.Context())
		require.ErrorContains(t, err, problem)
	}
	trusting := target("rediss://127.0.0.1:" + port + "?skip_verify=true")
	trusting.TLS = &redis.TLS{CertFile: cert, KeyFile: key}
	redistest.ReadOnly(t, open(t, trusting))
}
