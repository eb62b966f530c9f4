package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"github.com/rollwatch/rollwatch/alerts"
	"github.com/rollwatch/rollwatch/verdict"
)

const registration = `{"service":"api","version":"2","strategy":"canary"}`

func line(name, token string) string {
	hash := sha256.Sum256([]byte(token))
	return name + ":" + hex.EncodeToString(hash[:]) + "\n"
}

func decision() string {
	return `{"verdict":"continue","reason":"load test","until":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"}`
}

func writeTokens(t *testing.T, path string, lines ...string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600))
}

func TestWritesWithoutTokensComeFromThisMachine(t *testing.T) {
	tests := []struct {
		name, peer, host string
		header           [2]string
		status           int
	}{
		{"a program here", "127.0.0.1:4000", "localhost:9876", [2]string{}, 201},
		{"over IPv6", "[::1]:4000", "[::1]:9876", [2]string{}, 201},
		{"over IPv4 in IPv6", "[::ffff:127.0.0.1]:4000", "127.0.0.1:9876", [2]string{}, 201},
		{"without a port", "127.0.0.2:4000", "127.0.0.1", [2]string{}, 201},
		{"Node's fetch", "127.0.0.1:4000", "localhost:9876", [2]string{"Sec-Fetch-Mode", "cors"}, 201},
		{"another machine", "10.0.0.7:4000", "rollwatch:9876", [2]string{}, 401},
		{"another machine that says localhost", "10.0.0.7:4000", "localhost:9876", [2]string{}, 401},
		{"another machine that claims to forward", "10.0.0.7:4000", "localhost:9876", [2]string{"X-Forwarded-For", "127.0.0.1"}, 401},
		{"nobody", "", "localhost", [2]string{}, 401},
		{"a proxy here", "127.0.0.1:4000", "localhost:9876", [2]string{"X-Forwarded-For", "203.0.113.9"}, 401},
		{"a proxy here, by the standard", "127.0.0.1:4000", "localhost:9876", [2]string{"Forwarded", "for=203.0.113.9"}, 401},
		{"a proxy here, terse", "127.0.0.1:4000", "localhost:9876", [2]string{"Via", "1.1 proxy"}, 401},
		{"nginx here", "127.0.0.1:4000", "localhost:9876", [2]string{"X-Real-IP", "203.0.113.9"}, 401},
		{"a page of a stranger", "127.0.0.1:4000", "localhost:9876", [2]string{"Origin", "https://evil.example"}, 401},
		{"a page without an origin", "127.0.0.1:4000", "localhost:9876", [2]string{"Origin", "null"}, 401},
		{"a form of a stranger", "127.0.0.1:4000", "localhost:9876", [2]string{"Sec-Fetch-Site", "cross-site"}, 401},
		{"a name that points here (DNS rebinding)", "127.0.0.1:4000", "evil.example:9876", [2]string{}, 401},
		{"a name that only begins like it", "127.0.0.1:4000", "localhost.evil.example", [2]string{}, 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			r := request(http.MethodPost, "/api/v1/rollouts", registration)
			r.RemoteAddr, r.Host = test.peer, test.host
			if test.header[0] != "" {
				r.Header.Set(test.header[0], test.header[1])
			}
			answer := w.send(r)
			require.Equal(t, test.status, answer.Code, answer.Body)
			if test.status == http.StatusUnauthorized {
				require.Equal(t, verdict.Unauthorized, refusal(t, answer).Code)
				require.JSONEq(t, `{"rollouts":[]}`, w.do(http.MethodGet, "/api/v1/rollouts", "").Body.String())
			}
		})
	}
}

// A proxy appends to what its client sent, so an empty first line hides nothing.
func TestAProxyShowsItselfByAnyForwardingHeader(t *testing.T) {
	for _, name := range append([]string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix"}, forwarding...) {
		for _, lines := range [][]string{{"1.2.3.4"}, {""}, {"", "1.2.3.4"}} {
			w := newWorld(t)
			r := request(http.MethodPost, "/api/v1/rollouts", registration)
			for _, line := range lines {
				r.Header.Add(name, line)
			}
			answer := w.send(r)
			require.Equal(t, http.StatusUnauthorized, answer.Code, "%s %q", name, lines)
			require.Contains(t, refusal(t, answer).Message, name)
		}
	}
	w := newWorld(t)
	r := request(http.MethodPost, "/api/v1/rollouts", registration)
	r.Header["Origin"] = []string{"", "https://evil.example"}
	require.Equal(t, http.StatusUnauthorized, w.send(r).Code, "nor does it hide a browser")
}

// Every route that writes is closed to strangers, and every one that reads is open.
func TestEveryRouteIsGuarded(t *testing.T) {
	w := newWorld(t)
	for _, route := range slices.Concat(w.handler.routes(), w.handler.longRoutes()) {
		path := strings.NewReplacer("{id}", "r-1", "{service}", "api", "{gate:advance|promote|rollback}", "promote").Replace(route.path)
		r := request(route.method, path, "")
		r.RemoteAddr = "10.0.0.7:4000"
		answer := w.send(r)
		require.Equal(t, route.right == write, answer.Code == http.StatusUnauthorized, "%s %s: %d", route.method, path, answer.Code)
		changes := route.method != http.MethodGet && !strings.Contains(path, "/gate/")
		require.Equal(t, changes, route.right == write, "%s %s", route.method, path)
	}
}

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, "# who may write\n", "\n", line("deployer", "s3cret"), line("deployer", "the next one"), line("on-call", "other"))
	w := newWorld(t, func(opts *Options) { opts.Config.TokensFile = path })
	tests := []struct {
		name, header, value, author string
		status                      int
	}{
		{"a token", "Authorization", "Bearer s3cret", "deployer", 200},
		{"the second of a holder, while tokens are changed", "Authorization", "Bearer the next one", "deployer", 200},
		{"another holder", "Authorization", "bearer other", "on-call", 200},
		{"beside basic auth", tokenHeader, "other", "on-call", 200},
		{"none", "", "", "", 401},
		{"a wrong one", "Authorization", "Bearer s3cre", "", 401},
		{"an empty one", "Authorization", "Bearer ", "", 401},
		{"the hash in its place", "Authorization", "Bearer " + strings.TrimSpace(strings.TrimPrefix(line("", "s3cret"), ":")), "", 401},
		{"basic auth", "Authorization", "Basic czNjcmV0Og==", "", 401},
	}
	body := decision()
	rollout, _, err := w.judge.Register(t.Context(), verdict.Registration{Service: "api", Version: "2", Strategy: alerts.Canary}, "")
	require.NoError(t, err)
	path = "/api/v1/rollouts/" + rollout.ID + "/override"
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := request(http.MethodPost, path, body) // from this machine, which counts for nothing now
			if test.header != "" {
				r.Header.Set(test.header, test.value)
			}
			answer := w.send(r)
			require.Equal(t, test.status, answer.Code, answer.Body)
			if test.status == http.StatusOK {
				require.Equal(t, test.author, decodeAs[verdict.Rollout](t, answer).Override.Author)
			} else {
				require.NotEmpty(t, answer.Header().Get("WWW-Authenticate"))
			}
		})
	}
	r := request(http.MethodPost, path, body)
	r.Header.Set("Authorization", "Bearer s3cret")
	r.Header.Set("Origin", "https://deploy.example")
	r.RemoteAddr, r.Host = "10.0.0.7:4000", "rollwatch.example"
	require.Equal(t, http.StatusOK, w.send(r).Code, "who has a token may be anywhere")
}

func TestWithoutTokensTheAuthorIsLocal(t *testing.T) {
	w := newWorld(t)
	id := w.register("api")
	answer := w.do(http.MethodPost, "/api/v1/rollouts/"+id+"/override", decision())
	require.Equal(t, localAuthor, decodeAs[verdict.Rollout](t, answer).Override.Author)
}

func TestReadsMayNeedAToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, line("deployer", "s3cret"))
	w := newWorld(t, func(opts *Options) { opts.Config = Config{TokensFile: path, Reads: ReadsToken} })
	for _, route := range slices.Concat(w.handler.routes(), w.handler.longRoutes()) {
		path := strings.NewReplacer("{id}", "r-1", "{service}", "api", "{gate:advance|promote|rollback}", "promote").Replace(route.path)
		answer := w.send(request(route.method, path, ""))
		require.Equal(t, route.right != public, answer.Code == http.StatusUnauthorized, "%s %s: %d", route.method, path, answer.Code)
		r := request(route.method, path, "")
		r.Header.Set("Authorization", "Bearer s3cret")
		require.NotEqual(t, http.StatusUnauthorized, w.send(r).Code, path)
	}
}

func TestTokensFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, line("a", "first"))
	w := newWorld(t, func(opts *Options) {
		opts.Config.TokensFile = path
		opts.Log = zap.NewNop() // the fault in the file is logged as an error, and wanted here
	})
	status := func(token string) int {
		r := request(http.MethodPost, "/-/reload", "")
		r.Header.Set("Authorization", "Bearer "+token)
		return w.send(r).Code
	}
	require.Equal(t, 200, status("first"))

	writeTokens(t, path, line("a", "second"), line("b", "third"))
	require.Equal(t, []int{401, 200, 200}, []int{status("first"), status("second"), status("third")}, "the file is read when it changes")

	writeTokens(t, path, line("a", "fourth"), "not a token\n")
	require.Equal(t, []int{200, 401}, []int{status("second"), status("fourth")}, "a slip of the pen locks nobody out")

	require.NoError(t, os.Remove(path))
	require.Equal(t, http.StatusServiceUnavailable, status("second"), "a file that is gone takes its tokens with it")

	writeTokens(t, path, line("a", "fifth"))
	require.Equal(t, []int{200, 401}, []int{status("fifth"), status("second")})

	// Kubernetes swaps a mounted secret by a new file that may look alike.
	before, err := os.Stat(path)
	require.NoError(t, err)
	writeTokens(t, path+".new", line("a", "sixth"))
	require.NoError(t, os.Chtimes(path+".new", time.Time{}, before.ModTime()))
	require.NoError(t, os.Rename(path+".new", path))
	require.Equal(t, []int{401, 200}, []int{status("fifth"), status("sixth")})
}

// Opening a pipe waits for somebody to write to it, which may be never.
func TestATokensFileThatBecomesAPipeHangsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, line("a", "first"))
	core, log := observer.New(zap.ErrorLevel)
	w := newWorld(t, func(opts *Options) { opts.Config.TokensFile, opts.Log = path, zap.New(core) })
	require.NoError(t, os.Remove(path))
	require.NoError(t, unix.Mkfifo(path, 0o600))
	for range 3 {
		r := request(http.MethodPost, "/-/reload", "")
		r.Header.Set("Authorization", "Bearer first")
		require.Equal(t, http.StatusOK, w.send(r).Code, "the tokens stay as they were")
	}
	require.Equal(t, 1, log.Len())
	require.Contains(t, log.All()[0].ContextMap()["error"], "not a regular file")
	_, err := newAccess(Config{TokensFile: path}, zap.NewNop())
	require.ErrorContains(t, err, path+" is not a regular file")
	_, err = newAccess(Config{TokensFile: t.TempDir()}, zap.NewNop())
	require.ErrorContains(t, err, "is not a regular file")
}

// While one request reads the new file, the others go by the old one.
func TestReadingTheTokensFileKeepsNobodyWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, line("a", "first"))
	file, err := openTokens(path, zap.NewNop())
	require.NoError(t, err)
	writeTokens(t, path, line("a", "first"), line("b", "second"))
	file.reading.Lock() // somebody reads, and takes long
	name, err := file.holder("first")
	require.NoError(t, err)
	require.Equal(t, "a", name)
	file.reading.Unlock()
	name, err = file.holder("second")
	require.NoError(t, err)
	require.Equal(t, "b", name)
}

func TestFaultyTokensFiles(t *testing.T) {
	for name, test := range map[string]struct{ content, says string }{
		"a token in place of its hash": {line("a", "x") + "deployer:my-plain-token\n", "line 2"},
		"no name":                      {line("", "x"), "line 1"},
		"a name with blanks":           {"# c\n" + line("on call", "x"), "line 2"},
		"half a hash":                  {"a:" + strings.Repeat("0", 62) + "\n", "line 1"},
		"no colon":                     {"hello\n", "line 1"},
		"a line without end":           {strings.Repeat("a", 100_000), "token too long"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens")
			writeTokens(t, path, test.content)
			_, err := newAccess(Config{TokensFile: path}, zap.NewNop())
			require.ErrorContains(t, err, "api.tokens_file: "+path+": ")
			require.ErrorContains(t, err, test.says)
			require.NotContains(t, err.Error(), "my-plain-token", "what may be a secret is not repeated")
		})
	}
	_, err := newAccess(Config{TokensFile: "/nowhere/tokens"}, zap.NewNop())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestConfigure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, line("deployer", "s3cret"))
	w := newWorld(t)
	require.Error(t, w.handler.Configure(Config{TokensFile: "/nowhere/tokens"}))
	w.register("api") // the old configuration is in force
	require.NoError(t, w.handler.Configure(Config{TokensFile: path}))
	require.Equal(t, http.StatusUnauthorized, w.do(http.MethodPost, "/api/v1/rollouts", registration).Code)
}

func TestConfigFaults(t *testing.T) {
	require.Empty(t, Config{}.Validate())
	require.Empty(t, Config{TokensFile: "tokens", Reads: ReadsToken}.Validate())
	faults := Config{Reads: ReadsToken}.Validate()
	require.Len(t, faults, 1)
	require.Equal(t, "$.reads", faults[0].Path)
}

func FuzzParseTokens(f *testing.F) {
	f.Add(line("deployer", "s3cret"))
	f.Add("# comment\n\na:b\n")
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := parseTokens(strings.NewReader(text))
		if err != nil {
			require.Empty(t, tokens)
		}
		for _, token := range tokens {
			require.Regexp(t, tokenName, token.name)
		}
	})
}
