package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	promconfig "github.com/prometheus/common/config"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// The bounds of one connection, for when the reading's own deadline is later.
const (
	dialTimeout = 3 * time.Second
	ioTimeout   = 10 * time.Second
	turnTimeout = time.Minute
)

// client makes the one client of this target. Nothing is dialed yet.
func (c *Config) client() (goredis.UniversalClient, error) {
	if len(c.Cluster) > 0 {
		return goredis.NewClusterClient(&goredis.ClusterOptions{
			Addrs:     filled(c.Cluster),
			NewClient: func(opt *goredis.Options) *goredis.Client { return goredis.NewClient(c.strict(opt)) },
			// What a redirection leads to is asked by the same deadline.
			ContextTimeoutEnabled: true, DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		}), nil
	}
	if c.Sentinel != nil {
		return goredis.NewClient(c.strict(&goredis.Options{Addr: c.Sentinel.Master, DB: c.Sentinel.DB})), nil
	}
	opt, err := c.parse()
	if err != nil {
		return nil, err
	}
	return goredis.NewClient(c.strict(opt)), nil
}

// strict sets how we speak with a server: over one connection, by hard deadlines,
// and leaving no trace but our name.
func (c *Config) strict(opt *goredis.Options) *goredis.Options {
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
	return opt
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
	if c.Sentinel != nil {
		var err error
		if addr, err = c.master(ctx); err != nil {
			return nil, err
		}
	}
	return c.reach(ctx, ofURL, network, addr)
}

func (c *Config) reach(ctx context.Context, ofURL *tls.Config, network, addr string) (net.Conn, error) {
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
