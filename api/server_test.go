package api

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"
	"golang.org/x/crypto/bcrypt"

	"github.com/rollwatch/rollwatch/verdict"
)

// A pipeListener accepts connections that live in memory, where time is the test's.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (l *pipeListener) dial() net.Conn {
	client, server := net.Pipe()
	l.conns <- server
	return client
}

// serveInMemory runs the server as it is, on connections in memory.
func (w *world) serveInMemory(protocols *http.Protocols) (*pipeListener, *Server) {
	listener := newPipeListener()
	log := zaptest.NewLogger(w.t)
	s := &Server{handler: w.handler, log: log}
	s.add(listener)
	s.servers[0].Protocols = protocols
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	w.t.Cleanup(func() {
		require.NoError(w.t, s.Shutdown(context.Background()))
		require.NoError(w.t, <-served)
	})
	return listener, s
}

func TestAClientThatDripsItsHeaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		listener, _ := w.serveInMemory(nil)
		conn := listener.dial()
		began := time.Now()
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for range time.Tick(time.Second) {
				if _, err := io.WriteString(conn, "G"); err != nil {
					return
				}
			}
		}()
		_, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, headerTime, time.Since(began))
		<-stopped
	})
}

func TestAClientThatDripsItsBodyIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		listener, _ := w.serveInMemory(nil)
		conn := listener.dial()
		defer conn.Close()
		began := time.Now()
		_, err := io.WriteString(conn, "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nContent-Type: application/json\r\n\r\n{")
		require.NoError(t, err)
		_, err = io.ReadAll(conn)
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), requestTime+time.Second)
		require.LessOrEqual(t, requestTime, 10*time.Second)
	})
}

// ask sends a request on a connection and reads the answer, which leaves the
// connection open.
func ask(t *testing.T, conn net.Conn, path string) int {
	t.Helper()
	send(t, conn, path)
	return receive(t, conn)
}

func send(t *testing.T, conn net.Conn, path string) {
	t.Helper()
	_, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
}

func receive(t *testing.T, conn net.Conn) int {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	require.NoError(t, err)
	return answer.StatusCode
}

// Clients that keep their connections, or open them and say nothing, keep
// nobody from asking, nor does who waits for a verdict lose the connection.
func TestRestingConnectionsKeepNobodyOut(t *testing.T) {
	for name, rest := range map[string]func(*testing.T, net.Conn){
		"kept for later": func(t *testing.T, conn net.Conn) {
			t.Helper()
			require.Equal(t, http.StatusOK, ask(t, conn, "/-/healthy"))
		},
		"silent": func(*testing.T, net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				id := w.register("api")
				w.judge.run()
				listener, _ := w.serveInMemory(nil)
				patient := listener.dial()
				defer patient.Close()
				send(t, patient, "/api/v1/rollouts/"+id+"/verdict?wait=60s")
				synctest.Wait()
				began := time.Now()
				for range maxConnections + 100 {
					conn := listener.dial()
					defer conn.Close()
					rest(t, conn)
				}
				conn := listener.dial()
				defer conn.Close()
				require.Equal(t, http.StatusOK, ask(t, conn, "/metrics"))
				require.Equal(t, http.StatusOK, ask(t, conn, "/health/live"), "on the same connection")
				require.Zero(t, time.Since(began), "nobody waited for a place")
				require.Equal(t, http.StatusOK, receive(t, patient))
			})
		})
	}
}

// A minute's wait is longer than the deadlines of a short answer, and an event
// stream is longer than all of them.
func TestLongAnswersOutliveTheDeadlinesOfShortOnes(t *testing.T) {
	require.Greater(t, maxWait, max(requestTime, answerTime))
	one, two := new(http.Protocols), new(http.Protocols)
	one.SetHTTP1(true)
	two.SetUnencryptedHTTP2(true)
	for name, protocols := range map[string]*http.Protocols{"HTTP/1": one, "HTTP/2": two} {
		t.Run(name, func(t *testing.T) { testLongAnswers(t, protocols) })
	}
}

func testLongAnswers(t *testing.T, protocols *http.Protocols) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		id := w.register("api")
		w.judge.run()
		listener, server := w.serveInMemory(protocols)
		transport := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
			return listener.dial(), nil
		}}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		began := time.Now()
		answer, err := client.Get("http://memory/api/v1/rollouts/" + id + "/verdict?wait=60s")
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		answer.Body.Close()
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.Contains(t, string(body), `"verdict":"continue"`)
		require.Equal(t, maxWait, time.Since(began))

		stream, err := client.Get("http://memory/api/v1/rollouts/" + id + "/events")
		require.NoError(t, err)
		defer stream.Body.Close()
		turn := time.AfterFunc(10*time.Minute, func() { w.judge.decide(id, verdict.Rollback) })
		defer turn.Stop()
		lines := bufio.NewScanner(stream.Body)
		for lines.Scan() && !strings.Contains(lines.Text(), "rollback") {
		}
		require.Contains(t, lines.Text(), `"verdict":"rollback"`, "ten minutes later the stream still tells")

		<-time.After(writeTime + time.Second) // past the deadline of the newest event
		began = time.Now()
		stopped := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { stopped <- server.Shutdown(ctx) }()
		for lines.Scan() {
		}
		require.NoError(t, lines.Err(), "the stream is ended, not broken off")
		require.NoError(t, <-stopped)
		// Shutdown looks at growing, jittered intervals of up to half a second.
		require.Less(t, time.Since(began), 2*time.Second, "streams end when the daemon goes")
	})
}

// Who asks for a long answer and does not take it gives its place back all the same.
func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	for path, longest := range map[string]time.Duration{
		"/verdict?wait=1s": time.Second + writeTime,
		"/events":          writeTime,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			id := w.register("api")
			listener, _ := w.serveInMemory(nil)
			conn := listener.dial()
			defer conn.Close()
			_, err := io.WriteString(conn, "GET /api/v1/rollouts/"+id+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
			require.NoError(t, err)
			synctest.Wait()
			require.Len(t, w.handler.long, 1)
			<-time.After(longest + time.Second)
			synctest.Wait()
			require.Empty(t, w.handler.long)
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Empty(t, answer, "the connection is closed")
		})
	}
}

func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		w := newWorld(t, func(opts *Options) {
			opts.Metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck })
		})
		listener, server := w.serveInMemory(nil)
		conn := listener.dial()
		_, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.NoError(t, err)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, server.Shutdown(ctx), context.DeadlineExceeded)
		_, err = io.ReadAll(conn)
		require.NoError(t, err, "it is closed, answered or not")
		require.Equal(t, 3*time.Second, time.Since(began))
		close(stuck)
	})
}

func TestListenSaysWhatIsInTheWay(t *testing.T) {
	w := newWorld(t)
	log := zaptest.NewLogger(t)
	first, err := Listen([]string{"127.0.0.1:0"}, "", w.handler, log)
	require.NoError(t, err)
	taken := first.Addrs()[0].String()
	_, err = Listen([]string{"127.0.0.1:0", taken}, "", w.handler, log)
	require.ErrorContains(t, err, "listen on "+taken)
	require.ErrorContains(t, err, "address already in use")
	_, err = Listen([]string{"127.0.0.1:0"}, "/nowhere/web.yml", w.handler, log)
	require.ErrorContains(t, err, "/nowhere/web.yml")
	require.NoError(t, first.Shutdown(t.Context()), "before it served")
}

// writeWebConfig writes a web configuration with TLS and one user, and returns
// its path and the client that trusts it.
func writeWebConfig(t *testing.T) (string, *http.Client) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	hash, err := bcrypt.GenerateFromPassword([]byte("pass"), bcrypt.MinCost)
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		"web.yml":  []byte("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {prometheus: " + string(hash) + "}\n"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return filepath.Join(dir, "web.yml"), &http.Client{Transport: transport}
}

// Basic auth takes the Authorization header, so a write carries its token beside it.
func TestTLSAndBasicAuthByTheWebConfiguration(t *testing.T) {
	webConfig, client := writeWebConfig(t)
	tokens := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, tokens, line("deployer", "s3cret"))
	w := newWorld(t, func(opts *Options) { opts.Config.TokensFile = tokens })
	server, err := Listen([]string{"127.0.0.1:0", "127.0.0.1:0"}, webConfig, w.handler, zaptest.NewLogger(t))
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()

	for _, addr := range server.Addrs() {
		for _, test := range []struct {
			password, token string
			status          int
		}{{"", "s3cret", 401}, {"wrong", "s3cret", 401}, {"pass", "", 401}, {"pass", "s3cret", 201}} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+addr.String()+"/api/v1/rollouts", strings.NewReader(registration))
			require.NoError(t, err)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set(tokenHeader, test.token)
			if test.password != "" {
				r.SetBasicAuth("prometheus", test.password)
			}
			answer, err := client.Do(r)
			require.NoError(t, err)
			answer.Body.Close()
			require.Equal(t, test.status, answer.StatusCode, "password %q, token %q", test.password, test.token)
		}
	}
	require.NoError(t, server.Shutdown(t.Context()))
	require.NoError(t, <-served)
}
