// Package redis reads a Redis server over one kept connection, and lends that
// connection (Links) to the probes of the queues that live on the server.
package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	promconfig "github.com/prometheus/common/config"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Config is one entry of the `redis:` section.
type Config struct {
	// Name of the target: the value of the label target, and what queues and flags refer to.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// URL of the server: redis://user:password@host:6379/0, rediss:// for TLS, unix:///path?db=0. An entry whose URL is empty is left out.
	URL probe.Secret `yaml:"url,omitempty" jsonschema:"example=redis://127.0.0.1:6379/0"`
	// Username of the ACL user, in place of the one in the URL.
	Username string `yaml:"username,omitempty"`
	// Password, in place of the one in the URL.
	Password probe.Secret `yaml:"password,omitempty"`
	// PasswordFile holds the password in place of password; it is read again at each connection, so that a rotated password works.
	PasswordFile string `yaml:"password_file,omitempty" jsonschema:"example=/run/secrets/redis_password"`
	// Required says whether the aggregate health fails while the target is down.
	Required *bool `yaml:"required,omitempty" jsonschema:"default=true"`
	// TLS turns TLS on for a URL that does not (redis://), and says whom to trust.
	TLS *TLS `yaml:"tls,omitempty"`
}

// TLS says how the server proves itself, and we to it.
type TLS struct {
	// CAFile holds the certificates to trust in place of the system's.
	CAFile string `yaml:"ca_file,omitempty"`
	// CertFile holds the client certificate, for a server that asks for one.
	CertFile string `yaml:"cert_file,omitempty"`
	// KeyFile holds the key of cert_file.
	KeyFile string `yaml:"key_file,omitempty"`
	// ServerName to expect in the server's certificate, in place of the host of the URL.
	ServerName string `yaml:"server_name,omitempty"`
	// InsecureSkipVerify trusts whoever answers.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify,omitempty"`
}

// TargetName is the entry's name.
func (c *Config) TargetName() string { return c.Name }

// RequiredTarget says whether the aggregate health fails with this target.
func (c *Config) RequiredTarget() bool { return c.Required == nil || *c.Required }

// Address is where the server is, without user and password.
func (c *Config) Address() string {
	if c.URL.Empty() {
		return ""
	}
	opt, err := c.parse()
	if err != nil {
		return "(not a URL)"
	}
	scheme := "redis"
	switch {
	case opt.Network == "unix":
		return "unix://" + opt.Addr
	case opt.TLSConfig != nil || c.TLS != nil:
		scheme = "rediss"
	}
	return fmt.Sprintf("%s://%s/%d", scheme, opt.Addr, opt.DB)
}

// Validate names what contradicts itself.
func (c *Config) Validate() []probe.Fault {
	var faults []probe.Fault
	fault := func(path, problem, cure string) {
		faults = append(faults, probe.Fault{Path: path, Problem: problem, Cure: cure})
	}
	if c.Name == "" {
		fault("$.name", "no name", "give the target a name; it becomes the label target")
	}
	if c.URL.Empty() {
		fault("$.url", "no url", "name the server, as in url: redis://127.0.0.1:6379/0")
	} else if _, err := c.parse(); err != nil {
		fault("$.url", err.Error(), "write it as redis://user:password@host:6379/0; escape special characters of the password as %XX")
	}
	if !c.Password.Empty() && c.PasswordFile != "" {
		fault("$.password_file", "password and password_file at once", "keep one of them")
	}
	if c.TLS != nil && (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("$.tls", "cert_file and key_file belong together", "give both, or neither")
	}
	return faults
}

// parse understands the URL. Its errors never show it: it may hold a password.
func (c *Config) parse() (*goredis.Options, error) {
	u, err := url.Parse(c.URL.Reveal())
	if err != nil {
		return nil, errors.New("not a URL")
	}
	// Clients of other languages keep settings of their own in the query
	// (?family=6); only what says where to go is ours.
	query := url.Values{}
	for _, key := range []string{"db", "skip_verify"} {
		if u.Query().Has(key) {
			query.Set(key, u.Query().Get(key))
		}
	}
	u.RawQuery = query.Encode()
	opt, err := goredis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("not an address of a Redis: %s", strings.TrimPrefix(err.Error(), "redis: "))
	}
	return opt, nil
}

// The bounds of one connection, for when the reading's own deadline is later.
const (
	dialTimeout = 3 * time.Second
	ioTimeout   = 10 * time.Second
	turnTimeout = time.Minute
)

// client makes the one client of this target. Nothing is dialed yet.
func (c *Config) client() (*goredis.Client, error) {
	opt, err := c.parse()
	if err != nil {
		return nil, err
	}
	opt.CredentialsProviderContext = c.credentials(opt.Username, opt.Password)
	opt.Username, opt.Password = "", ""
	opt.Dialer = c.dialer(opt.TLSConfig)
	opt.TLSConfig = nil // the dialer's work
	opt.Protocol = 2    // every reply we read is the same in 2, which also proxies speak

	// One connection: no second one for pipelines, and whoever needs it waits
	// for it, as long as the own context allows.
	opt.PoolSize, opt.MaxActiveConns, opt.PipelinePoolSize = 1, 1, -1
	opt.PoolTimeout = turnTimeout
	opt.ConnMaxIdleTime = -1

	// A hard deadline: the context's, and no second try within it.
	opt.ContextTimeoutEnabled = true
	opt.MaxRetries, opt.DialerRetries = -1, 1
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = dialTimeout, ioTimeout, ioTimeout

	// What the client would say of itself may be denied by an ACL, and then be
	// logged there. The name alone is wanted, and its refusal is no fault.
	opt.DisableIdentity = true
	opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	opt.OnConnect = func(ctx context.Context, conn *goredis.Conn) error {
		if err := conn.ClientSetName(ctx, ClientName).Err(); err != nil && !replied(err) {
			return err
		}
		return nil
	}
	return goredis.NewClient(opt), nil
}

// ClientName is how our connection shows itself in CLIENT LIST.
const ClientName = "rollwatch"

// credentials answers user and password at each connection.
func (c *Config) credentials(urlUser, urlPassword string) func(context.Context) (string, string, error) {
	return func(context.Context) (string, string, error) {
		password := c.Password
		if c.PasswordFile != "" {
			var err error
			if password, err = probe.ReadSecretFile(c.PasswordFile); err != nil {
				return "", "", err
			}
		}
		return cmp.Or(c.Username, urlUser), cmp.Or(password.Reveal(), urlPassword), nil
	}
}

// dialer dials once. A failure is answered as a connection that fails at its
// first use: the pool would otherwise answer later readings with an old error,
// and go on dialing in the background, also after it was closed.
func (c *Config) dialer(ofURL *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := c.dial(ctx, ofURL, network, addr)
		if err != nil {
			return refused{err: err}, nil //nolint:nilerr // it says so at its first use
		}
		return conn, nil
	}
}

func (c *Config) dial(ctx context.Context, ofURL *tls.Config, network, addr string) (net.Conn, error) {
	dialer := &net.Dialer{KeepAlive: 30 * time.Second}
	if ofURL == nil && c.TLS == nil {
		return dialer.DialContext(ctx, network, addr)
	}
	// Made anew for each connection, so that renewed certificates are used.
	config, err := c.tlsConfig(ofURL)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext(ctx, network, addr)
}

func (c *Config) tlsConfig(ofURL *tls.Config) (*tls.Config, error) {
	var set promconfig.TLSConfig
	if c.TLS != nil {
		set = promconfig.TLSConfig{
			CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile,
			ServerName: c.TLS.ServerName, InsecureSkipVerify: c.TLS.InsecureSkipVerify,
		}
	}
	if ofURL != nil {
		set.ServerName = cmp.Or(set.ServerName, ofURL.ServerName)
		set.InsecureSkipVerify = set.InsecureSkipVerify || ofURL.InsecureSkipVerify
	}
	return promconfig.NewTLSConfig(&set)
}

// refused is a connection that could not be made.
type refused struct {
	net.Conn
	err error
}

func (r refused) Read([]byte) (int, error)         { return 0, r.err }
func (r refused) Write([]byte) (int, error)        { return 0, r.err }
func (r refused) Close() error                     { return nil }
func (r refused) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (r refused) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (r refused) SetDeadline(time.Time) error      { return nil }
func (r refused) SetReadDeadline(time.Time) error  { return nil }
func (r refused) SetWriteDeadline(time.Time) error { return nil }

// Open makes the probe.
func (c *Config) Open(links probe.Links) (probe.Probe, error) {
	client, err := links.Redis(c.Name)
	if err != nil {
		return nil, fmt.Errorf("redis %s: %w", c.Name, err)
	}
	single, ok := client.(*goredis.Client)
	if !ok {
		return nil, fmt.Errorf("redis %s: a %T cannot be read", c.Name, client)
	}
	return &reader{client: single, pings: probe.NewHistogram(pingBounds...), sections: []string{"everything"}}, nil
}

// Grants are what the probe of the server itself asks; it reads no key.
func (c *Config) Grants() probe.Grants {
	g := probe.Grants{On: "redis:" + c.Name, Commands: slices.Clone(Commands)}
	if opt, err := c.parse(); err == nil && opt.DB != 0 {
		g.Commands = append(g.Commands, "select")
	}
	return g
}
