package main

import (
	"cmp"
	_ "embed"
	"net"
	"net/url"
	"strings"

	"github.com/rollwatch/rollwatch/cmd/rollwatch/strictyaml"
)

// environmentName stands where a file's name would in faults.
const environmentName = "environment"

//go:embed environment.yml
var environmentFile []byte

// environmentTree is the configuration that the environment alone describes.
func environmentTree(lookup func(string) (string, bool)) (*strictyaml.Node, error) {
	root, faults := strictyaml.Parse(environmentName, environmentFile)
	if len(faults) == 0 {
		faults = root.Expand(stackVariables{lookup}.lookup)
	}
	if len(faults) > 0 {
		return nil, &faultyError{faults}
	}
	return root, nil
}

// stackVariables are the variables of the stack that is watched. Where it
// names a server in parts, or leaves TLS to NODE_ENV, the address is derived.
type stackVariables struct {
	environment func(string) (string, bool)
}

func (v stackVariables) get(name string) string {
	value, _ := v.environment(name)
	return value
}

func (v stackVariables) lookup(name string) (string, bool) {
	switch name {
	case "DATABASE_URL":
		return v.database(), true
	case "REDIS_URL":
		return v.redis("REDIS"), true
	case "BULL_REDIS_URL":
		// One connection per server: the same server under two names is read once.
		if bull := v.redis("BULL_REDIS"); bull != v.redis("REDIS") {
			return bull, true
		}
		return "", true
	case "REDIS_PASSWORD", "BULL_REDIS_PASSWORD":
		return v.password(strings.TrimSuffix(name, "_PASSWORD")), true
	case "UNLEASH_URL":
		if v.provider() == "unleash" {
			return v.get(name), true
		}
		return "", true
	case "FEATURE_FLAGS_REDIS":
		if v.provider() == "redis" && v.redis("REDIS") != "" {
			return "main", true
		}
		return "", true
	}
	return v.environment(name)
}

func (v stackVariables) production() bool { return v.get("NODE_ENV") == "production" }

// provider is where feature flags are kept. An address of an Unleash server
// without the name of a provider means that one.
func (v stackVariables) provider() string {
	return cmp.Or(strings.ToLower(v.get("FEATURE_FLAGS_PROVIDER")), "unleash")
}

// database is DATABASE_URL, with TLS in production unless it says otherwise.
func (v stackVariables) database() string {
	address := v.get("DATABASE_URL")
	if address == "" || !v.production() || strings.Contains(address, "sslmode=") || strings.Contains(address, "ssl=") {
		return address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" { // a connection string of key=value pairs
		return address + " sslmode=require"
	}
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	return address + separator + "sslmode=require"
}

// redis is <prefix>_URL, whose scheme says whether TLS is used; or it is made
// of <prefix>_HOST and <prefix>_PORT, with TLS in production.
func (v stackVariables) redis(prefix string) string {
	host := v.get(prefix + "_HOST")
	if address := v.get(prefix + "_URL"); address != "" || host == "" {
		return address
	}
	scheme := "redis"
	if v.production() {
		scheme = "rediss"
	}
	return scheme + "://" + net.JoinHostPort(host, cmp.Or(v.get(prefix+"_PORT"), "6379")) + "/0"
}

// password is <prefix>_PASSWORD, unless the address has one of its own.
func (v stackVariables) password(prefix string) string {
	if u, err := url.Parse(v.redis(prefix)); err == nil && u.User != nil {
		if _, set := u.User.Password(); set {
			return ""
		}
	}
	return v.get(prefix + "_PASSWORD")
}
