// Package redis reads a Redis server over one kept connection, and lends that
// connection (Links) to the probes of the queues that live on the server.
package redis

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Config is one entry of the `redis:` section.
type Config struct {
	// Name of the target: the value of the label target, and what queues and flags refer to.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-zA-Z0-9_.-]{1\\,63}$"`
	// URL of the server: redis://user:password@host:6379/0, rediss:// for TLS, unix:///path?db=0. An entry whose URL is empty is left out.
	URL probe.Secret `yaml:"url,omitempty" jsonschema:"example=redis://127.0.0.1:6379/0"`
	// Sentinel finds the server in place of a URL: the master of that name, whichever server that is now.
	Sentinel *Sentinel `yaml:"sentinel,omitempty"`
	// Cluster lists nodes of a Redis Cluster in place of a URL, as host:port; the others are found by them.
	Cluster []string `yaml:"cluster,omitempty" jsonschema:"example=10.0.0.1:6379"`
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

// Sentinel says where the Sentinels are, and what they watch.
type Sentinel struct {
	// Master is the name under which the Sentinels know the server.
	Master string `yaml:"master,omitempty" jsonschema:"example=mymaster"`
	// Addresses of Sentinels, as host:port; they are asked in this order.
	Addresses []string `yaml:"addresses,omitempty" jsonschema:"example=10.0.0.1:26379"`
	// DB is the number of the database.
	DB int `yaml:"db,omitempty" jsonschema:"minimum=0"`
	// Username at the Sentinels, where they ask for one.
	Username string `yaml:"username,omitempty"`
	// Password at the Sentinels.
	Password probe.Secret `yaml:"password,omitempty"`
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
	switch {
	case c.Sentinel != nil:
		if found := filled(c.Sentinel.Addresses); len(found) > 0 {
			return "sentinel://" + strings.Join(found, ",") + "/" + c.Sentinel.Master
		}
		return ""
	case len(c.Cluster) > 0:
		if found := filled(c.Cluster); len(found) > 0 {
			return "cluster://" + strings.Join(found, ",")
		}
		return ""
	case c.URL.Empty():
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

// filled are the addresses that are there: a variable that is not set leaves an empty one.
func filled(addresses []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return a == "" })
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
	c.validateAddress(fault)
	if !c.Password.Empty() && c.PasswordFile != "" {
		fault("$.password_file", "password and password_file at once", "keep one of them")
	}
	if c.TLS != nil && (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		fault("$.tls", "cert_file and key_file belong together", "give both, or neither")
	}
	return faults
}

// validateAddress checks the one of three ways to say where the server is.
func (c *Config) validateAddress(fault func(path, problem, cure string)) {
	ways := 0
	for _, given := range []bool{!c.URL.Empty(), c.Sentinel != nil, len(c.Cluster) > 0} {
		if given {
			ways++
		}
	}
	switch {
	case ways > 1:
		fault("$", "url, sentinel and cluster say where the server is in different ways", "keep one of them")
	case c.Sentinel != nil:
		if c.Sentinel.Master == "" {
			fault("$.sentinel.master", "no name of a master", "give the name under which the Sentinels watch it, as in mymaster")
		}
		checkAddresses("$.sentinel.addresses", c.Sentinel.Addresses, "26379", fault)
	case len(c.Cluster) > 0:
		checkAddresses("$.cluster", c.Cluster, "6379", fault)
	case c.URL.Empty():
		fault("$.url", "no url", "name the server, as in url: redis://127.0.0.1:6379/0")
	default:
		if _, err := c.parse(); err != nil {
			fault("$.url", err.Error(), "write it as redis://user:password@host:6379/0; escape special characters of the password as %XX")
		}
	}
}

func checkAddresses(path string, addresses []string, port string, fault func(path, problem, cure string)) {
	if len(filled(addresses)) == 0 {
		fault(path, "no address", "write host:port, as in 10.0.0.1:"+port)
	}
	for i, address := range addresses {
		if host, _, err := net.SplitHostPort(address); address != "" && (err != nil || host == "") {
			fault(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%q is no address", address), "write host:port, as in 10.0.0.1:"+port)
		}
	}
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

// Open makes the probe.
func (c *Config) Open(links probe.Links) (probe.Probe, error) {
	client, err := links.Redis(c.Name)
	if err != nil {
		return nil, fmt.Errorf("redis %s: %w", c.Name, err)
	}
	if cluster, ok := client.(*goredis.ClusterClient); ok {
		return &clusterReader{client: cluster}, nil
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
	if len(c.Cluster) > 0 {
		g.Commands = slices.Clone(ClusterCommands)
	}
	if c.Sentinel != nil && c.Sentinel.DB != 0 {
		g.Commands = append(g.Commands, "select")
	}
	if opt, err := c.parse(); err == nil && opt.DB != 0 {
		g.Commands = append(g.Commands, "select")
	}
	return g
}
