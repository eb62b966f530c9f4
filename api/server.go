package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"
)

// What a client may take of a connection. Long answers lift the deadlines for
// themselves (Handler.keepOpen).
const (
	headerTime     = 5 * time.Second
	requestTime    = 10 * time.Second // header and body
	answerTime     = 30 * time.Second
	idleTime       = 30 * time.Second
	maxHeader      = 64 << 10               // bytes
	maxConnections = 2048                   // a listener
	manyOpen       = maxConnections * 7 / 8 // from here on, those that rest are closed
)

// A Server serves a Handler on its listeners, with TLS and basic auth as the
// web configuration file of the Prometheus exporters says.
type Server struct {
	handler   *Handler
	webConfig string
	log       *zap.Logger
	servers   []*http.Server // one a listener: the TLS set-up writes to its server
	listeners []net.Listener
}

// Listen binds every address, as in :9876, at once, so that a port that is
// taken is an error here. webConfig is the path of the web configuration file,
// or empty.
func Listen(addresses []string, webConfig string, handler *Handler, log *zap.Logger) (*Server, error) {
	if err := web.Validate(webConfig); err != nil {
		return nil, fmt.Errorf("web configuration file %s: %w", webConfig, err)
	}
	s := &Server{handler: handler, webConfig: webConfig, log: log}
	for _, address := range addresses {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen on %s: %w", address, err), s.closeListeners())
		}
		s.add(listener)
	}
	return s, nil
}

// add serves the listener too, with a bound to its connections.
func (s *Server) add(listener net.Listener) {
	s.listeners = append(s.listeners, netutil.LimitListener(listener, maxConnections))
	s.servers = append(s.servers, newServer(s.handler, s.log))
}

func newServer(handler http.Handler, log *zap.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ConnState:         newCrowd(manyOpen).watch,
		ErrorLog:          zap.NewStdLog(log.Named("http")),
	}
}

// Addrs are the addresses that are listened on, with the ports that were given
// for :0.
func (s *Server) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(s.listeners))
	for i, listener := range s.listeners {
		addrs[i] = listener.Addr()
	}
	return addrs
}

// Serve answers requests until Shutdown, then returns nil; a listener that
// breaks ends it with the error.
func (s *Server) Serve() error {
	flags := &web.FlagConfig{WebConfigFile: &s.webConfig}
	log := slog.New(zapslog.NewHandler(s.log.Core(), zapslog.WithName("http")))
	var group errgroup.Group
	for i, listener := range s.listeners {
		group.Go(func() error {
			if err := web.Serve(listener, s.servers[i], flags, log); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

// Shutdown says that the daemon is not ready any more, lets the requests under
// way end, and closes what is still open when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.handler.Drain()
	var group errgroup.Group
	for _, server := range s.servers {
		group.Go(func() error {
			err := server.Shutdown(ctx)
			if err != nil {
				err = errors.Join(fmt.Errorf("requests were still under way: %w", err), server.Close())
			}
			return err
		})
	}
	return errors.Join(group.Wait(), s.closeListeners())
}

func (s *Server) closeListeners() error {
	var errs []error
	for _, listener := range s.listeners {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
