package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/rollwatch/rollwatch/verdict"
)

// An endpoint answers a request, or returns why it does not, before it has written anything.
type endpoint func(w http.ResponseWriter, r *http.Request) error

// A route is one operation of the contract.
type route struct {
	method, path string
	right        right // what it takes to call it
	endpoint     endpoint
}

func (h *Handler) routes() []route {
	const gate = "/gate/{gate:advance|promote|rollback}"
	return []route{
		{http.MethodGet, "/", public, h.handler(h.landing)},
		{http.MethodGet, "/metrics", public, h.handler(h.opts.Metrics)},
		{http.MethodGet, "/health", public, h.health(everything)},
		{http.MethodGet, "/health/live", public, h.health(nothing)},
		{http.MethodGet, "/health/ready", public, h.health(backing)},
		{http.MethodGet, "/-/healthy", public, h.healthy},
		{http.MethodGet, "/-/ready", public, h.ready},
		{http.MethodPost, "/-/reload", write, h.reload},
		{http.MethodGet, "/api/v1/openapi.yaml", public, h.serveContract},
		{http.MethodPost, "/api/v1/rollouts", write, h.register},
		{http.MethodGet, "/api/v1/rollouts", read, h.listRollouts},
		{http.MethodGet, "/api/v1/rollouts/{id}", read, h.showRollout},
		{http.MethodPatch, "/api/v1/rollouts/{id}", write, h.stageRollout},
		{http.MethodPost, "/api/v1/rollouts/{id}/finish", write, h.finishRollout},
		{http.MethodPost, "/api/v1/rollouts/{id}/override", write, h.overrideRollout},
		{http.MethodGet, "/api/v1/rollouts/{id}/report", read, h.report},
		{http.MethodGet, "/api/v1/rollouts/{id}" + gate, read, h.gate(byID)},
		{http.MethodPost, "/api/v1/rollouts/{id}" + gate, read, h.gate(byID)},
		{http.MethodGet, "/api/v1/services/{service}" + gate, read, h.gate(h.byService)},
		{http.MethodPost, "/api/v1/services/{service}" + gate, read, h.gate(h.byService)},
		{http.MethodGet, "/api/v1/deliveries", read, h.listDeliveries},
		{http.MethodPost, "/api/v1/deliveries/{id}/replay", write, h.replayDelivery},
	}
}

// longRoutes are those whose answer may take longer than endpointTime.
func (h *Handler) longRoutes() []route {
	return []route{
		{http.MethodGet, "/api/v1/rollouts/{id}/verdict", read, h.document(byID)},
		{http.MethodGet, "/api/v1/services/{service}/verdict", read, h.document(h.byService)},
		{http.MethodGet, "/api/v1/rollouts/{id}/events", read, h.events},
	}
}

// newRouter builds the router. It never redirects: a deploy tool that is sent
// elsewhere takes the redirect itself for the verdict.
func (h *Handler) newRouter() *mux.Router {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	mount := func(route route, handler http.Handler) {
		methods := []string{route.method}
		if route.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		router.Path(route.path).Methods(methods...).Handler(handler)
	}
	for _, route := range h.routes() {
		mount(route, within(endpointTime, h.serve(h.guard(route.right, route.endpoint))))
	}
	for _, route := range h.longRoutes() {
		mount(route, h.serve(h.guard(route.right, route.endpoint)))
	}
	router.NotFoundHandler = h.serve(notFound)
	router.MethodNotAllowedHandler = http.HandlerFunc(h.otherMethod)
	return router
}

// within gives a request a deadline.
func within(limit time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// serve is where every endpoint's error becomes an answer.
func (h *Handler) serve(endpoint endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := endpoint(w, r); err != nil {
			h.fail(w, r, err)
		}
	})
}

// handler makes an endpoint of a handler that answers by itself.
func (h *Handler) handler(handler http.Handler) endpoint {
	return func(w http.ResponseWriter, r *http.Request) error {
		handler.ServeHTTP(w, r)
		return nil
	}
}

func notFound(_ http.ResponseWriter, r *http.Request) error {
	message := "there is nothing at " + bounded(r.URL.Path)
	if len(r.URL.Path) > 1 && strings.HasSuffix(r.URL.Path, "/") {
		message += "; try it without the slash at the end"
	}
	return &verdict.Error{Code: verdict.NotFound, Message: message}
}

// otherMethod answers OPTIONS, and refuses methods that a path does not know.
func (h *Handler) otherMethod(w http.ResponseWriter, r *http.Request) {
	allowed := h.allowed(r)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusOK)
		return
	}
	h.reply(w, http.StatusMethodNotAllowed, problem{&verdict.Error{
		Code:    verdict.Invalid,
		Message: bounded(r.Method) + " is not for " + bounded(r.URL.Path) + "; it takes " + strings.Join(allowed, ", "),
	}})
}

// allowed asks the router which methods the path knows.
func (h *Handler) allowed(r *http.Request) []string {
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch}
	methods = slices.DeleteFunc(methods, func(method string) bool {
		asked := *r
		asked.Method = method
		var match mux.RouteMatch
		return !h.router.Match(&asked, &match) || match.MatchErr != nil
	})
	return append(methods, http.MethodOptions)
}

// pathValue is a variable of the path, unescaped: the router matches escaped
// paths, so that a service may be called team/api.
func pathValue(r *http.Request, name string) string {
	escaped := mux.Vars(r)[name]
	if value, err := url.PathUnescape(escaped); err == nil {
		return value
	}
	return escaped
}
