package http

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// Bounds of the replicas of one service.
const (
	maxReplicas = 50
	maxAtOnce   = 10
)

// dnsScheme before a URL asks every address that its name has, as a headless
// service of Kubernetes has one for each pod.
const dnsScheme = "dns+"

// A replica is one instance of the service, and what it said.
type replica struct {
	name   string // host:port
	answer reply
	err    error
}

// replicas asks every replica. One that does not answer costs the others nothing.
func (r *requester) replicas(ctx context.Context) []replica {
	var all []replica
	var addresses []string
	for _, configured := range r.config.Replicas {
		found, err := resolve(ctx, configured)
		if err != nil {
			all = append(all, replica{name: hostOf(configured), err: err})
		}
		addresses = append(addresses, found...)
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	asked := make([]replica, min(len(addresses), maxReplicas))
	var group errgroup.Group
	group.SetLimit(maxAtOnce)
	for i := range asked {
		group.Go(func() error {
			asked[i].name = hostOf(addresses[i])
			asked[i].answer, asked[i].err = r.ask(ctx, addresses[i])
			return nil
		})
	}
	_ = group.Wait() // every error is in its replica
	return append(all, asked...)
}

// resolve is the addresses that a configured replica stands for.
func resolve(ctx context.Context, configured string) ([]string, error) {
	address, byName := strings.CutPrefix(configured, dnsScheme)
	if !byName {
		return []string{configured}, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, withoutURL(err)
	}
	hosts, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("look up replicas: %w", err)
	}
	addresses := make([]string, len(hosts))
	for i, host := range hosts {
		one := *u
		one.Host = strings.TrimSuffix(net.JoinHostPort(host, u.Port()), ":")
		addresses[i] = one.String()
	}
	return addresses, nil
}

// hostOf is the part of an address that tells replicas apart, and that may be shown.
func hostOf(address string) string {
	u, err := url.Parse(strings.TrimPrefix(address, dnsScheme))
	if err != nil {
		return "(not a URL)"
	}
	return u.Host
}

// addReplicas adds what the replicas said.
func (c *Config) addReplicas(reading *probe.Reading, replicas []replica) {
	if len(replicas) == 0 {
		return
	}
	said := map[string]any{}
	named := map[string]bool{}
	for _, each := range replicas {
		if named[each.name] {
			continue // two paths of one replica: the first counts
		}
		named[each.name] = true
		if each.err != nil {
			said[each.name] = each.err.Error()
			reading.Samples = append(reading.Samples, replicaHealthy.Sample(0, each.name))
			continue
		}
		h := parse(each.answer.body)
		ill := c.ill(each.answer.Response, each.answer.body, &h)
		if said[each.name] = "up"; ill != "" {
			said[each.name] = ill
		}
		reading.Samples = append(reading.Samples, replicaHealthy.Sample(truth(ill == ""), each.name),
			replicaDuration.Sample(each.answer.took.Seconds(), each.name))
		if h.version != "" {
			reading.Samples = append(reading.Samples, replicaVersion.Sample(1, each.name, h.version))
		}
	}
	reading.Details["replicas"] = said
}

// census says how many replicas answer while the service's own address does not.
func census(replicas []replica) string {
	if len(replicas) == 0 {
		return ""
	}
	answering := 0
	for _, each := range replicas {
		if each.err == nil {
			answering++
		}
	}
	return fmt.Sprintf("; %d of %d replicas answer", answering, len(replicas))
}
