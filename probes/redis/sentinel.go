package redis

import (
	"context"
	"errors"
	"fmt"
	"net"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// master asks the Sentinels where the master is. They are asked at each
// connection: the one that is kept breaks when its server is no longer the
// master, since Sentinel hangs up on its clients.
func (c *Config) master(ctx context.Context) (string, error) {
	var errs []error
	for _, address := range filled(c.Sentinel.Addresses) {
		found, err := c.askSentinel(ctx, address)
		if err == nil {
			return found, nil
		}
		errs = append(errs, fmt.Errorf("sentinel %s: %w", address, err))
	}
	return "", errors.Join(errs...)
}

func (c *Config) askSentinel(ctx context.Context, address string) (string, error) {
	client := goredis.NewSentinelClient(&goredis.Options{
		Addr: address, Username: c.Sentinel.Username, Password: c.Sentinel.Password.Reveal(),
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return c.reach(ctx, nil, network, addr)
		},
		PoolSize: 1, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1, Protocol: 2,
		DialTimeout: dialTimeout, ReadTimeout: dialTimeout, WriteTimeout: dialTimeout, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer client.Close()
	found, err := client.GetMasterAddrByName(ctx, c.Sentinel.Master).Result()
	switch {
	case errors.Is(err, goredis.Nil):
		return "", fmt.Errorf("knows no master %q", c.Sentinel.Master)
	case err != nil:
		return "", err
	case len(found) != 2:
		return "", errors.New("answered no address")
	}
	return net.JoinHostPort(found[0], found[1]), nil
}
