package postgres

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rollwatch/rollwatch/probes/probe"
)

// errUnreadableURL says nothing of the text: where a URL cannot be taken apart,
// nobody can tell which part of it is the password.
var errUnreadableURL = errors.New("not a PostgreSQL URL or connection string")

// passedOn are the parameters of a URL that go to the server. Everything else
// that neither libpq nor pgx knows is an ORM's (Prisma's schema,
// connection_limit, pgbouncer, pool_timeout, ...): sent as a setting, it would
// be refused as fatal.
var passedOn = []string{"options", "search_path"}

// parseURL reads a URL or a libpq connection string. Its errors do not hold
// the password.
func parseURL(secret probe.Secret) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(secret.Reveal())
	if err != nil {
		return nil, explainURL(secret)
	}
	for name := range config.RuntimeParams {
		if !slices.Contains(passedOn, name) {
			delete(config.RuntimeParams, name)
		}
	}
	return config, nil
}

// explainURL says why a URL cannot be used, by reading it again without its
// password: that error cannot give away what it never saw.
func explainURL(secret probe.Secret) error {
	u, err := url.Parse(secret.Reveal())
	if err != nil || !slices.Contains([]string{"postgres", "postgresql"}, u.Scheme) {
		return errUnreadableURL
	}
	query := u.Query()
	query.Del("password")
	query.Del("sslpassword")
	u.RawQuery = query.Encode()
	u.User = url.User(u.User.Username())
	if _, err := pgx.ParseConfig(u.String()); err != nil {
		return fmt.Errorf("not a usable PostgreSQL URL: %w", reason(err))
	}
	return fmt.Errorf("%w: its password needs escaping as %%XX", errUnreadableURL)
}

// reason is the message of a parse error without the URL it quotes.
func reason(err error) error {
	_, text, found := strings.Cut(err.Error(), "`: ")
	if !found {
		return errUnreadableURL
	}
	return errors.New(text)
}

// maskedAddress shows who connects where, and nothing else of the URL.
func maskedAddress(secret probe.Secret) string {
	config, err := parseURL(secret)
	if err != nil {
		return "(" + errUnreadableURL.Error() + ")"
	}
	hosts := []string{net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))}
	for _, other := range config.Fallbacks {
		hosts = append(hosts, net.JoinHostPort(other.Host, strconv.Itoa(int(other.Port))))
	}
	slices.Sort(hosts)
	return fmt.Sprintf("postgresql://%s@%s/%s", url.User(config.User), strings.Join(slices.Compact(hosts), ","), config.Database)
}
