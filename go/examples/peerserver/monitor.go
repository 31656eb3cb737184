package main

// The monitor's pages on a listener of their own: those of the module, and health, readiness, the clients, and who may
// change something.

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	corelane "github.com/corelane/corelane/go"
)

// bodyBytes is the largest body of a change.
const bodyBytes = 4 << 10

// formats has the formats of the report by name.
var formats = map[string]corelane.ReportFormat{"html": corelane.ReportHTML, "text": corelane.ReportText, "json": corelane.ReportJSON}

const notCalledHere = "the Host header is not a name of this monitor; add the name with --monitor_host"

// pages serves the monitor.
type pages struct {
	server *server
	// ofModule serves the figures.
	ofModule http.Handler
}

func newPages(server *server) pages {
	mayChange := func(*http.Request) bool { return true } // change has looked
	return pages{server, server.monitor.Handler(corelane.HandlerOptions{AllowChanges: mayChange})}
}

func (p pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	isRead := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !isRead && !p.readBody(w, r): // answered
	case isRead && r.URL.Path == "/healthz":
		answer(w, http.StatusOK, plainType, "ok")
	case isRead && r.URL.Path == "/readyz":
		if why := p.server.isUnready(); why != "" {
			answer(w, http.StatusServiceUnavailable, plainType, why)
			return
		}
		answer(w, http.StatusOK, plainType, "ok")
	case isRead && r.URL.Path == "/api/info": // has no figures, so that everybody may know that a token is needed
		answer(w, http.StatusOK, jsonType, asJSON(struct {
			Version string   `json:"version"`
			Pages   []string `json:"pages"`
			Token   bool     `json:"token"`
		}{corelane.Version(), []string{"/api/peers"}, p.server.token != ""}))
	case isRead && !p.isCalledHere(r.Host): // before any figures, and before the page, whose scripts could read them
		answer(w, http.StatusForbidden, plainType, notCalledHere)
	case isRead && r.URL.Path == "/": // the page, in which there are no figures
		p.ofModule.ServeHTTP(w, r)
	case !p.hasToken(r):
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, plainType, "send the token: Authorization: Bearer TOKEN")
	case isRead && r.URL.Path == "/api/peers":
		p.peers(w, r)
	case !isRead:
		p.change(w, r)
	default:
		p.ofModule.ServeHTTP(w, r)
	}
}

// hasToken tells whether the request has the token, if the monitor has one.
func (p pages) hasToken(r *http.Request) bool {
	said, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return p.server.token == "" || subtle.ConstantTimeCompare([]byte(said), []byte(p.server.token)) == 1
}

// peers shows the connected clients with their addresses: the latest ones, or one by its id.
func (p pages) peers(w http.ResponseWriter, r *http.Request) {
	limit, refused := 1000, ""
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		refused = "the query is not valid: " + err.Error()
	}
	for name, values := range query {
		switch {
		case name != "id" && name != "limit":
			refused = "unknown parameter " + name + "; allowed: id, limit"
		case len(values) > 1:
			refused = name + " is given twice; allowed: once"
		}
	}
	if word := query.Get("limit"); word != "" {
		if limit, err = strconv.Atoi(word); err != nil || limit < 1 || limit > 100_000 {
			refused = "limit = " + word + " is not valid; allowed: 1 to 100000 peers"
		}
	}
	if refused != "" {
		answer(w, http.StatusBadRequest, plainType, refused)
		return
	}
	total, peers := p.server.registry.peers(query.Get("id"), limit)
	answer(w, http.StatusOK, jsonType, asJSON(struct {
		Total int    `json:"total"`
		Peers []peer `json:"peers"`
	}{total, peers}))
}

// change hands a request that may change something to the module, if it may.
func (p pages) change(w http.ResponseWriter, r *http.Request) {
	if !p.isCalledHere(r.Host) {
		answer(w, http.StatusForbidden, plainType, notCalledHere)
		return
	}
	if !isFromHere(r) {
		answer(w, http.StatusForbidden, plainType,
			"pages of another origin cannot change settings; use a page of this monitor, or curl")
		return
	}
	p.ofModule.ServeHTTP(w, r)
}

// readBody reads the body of a request, or answers why it cannot. Net/http would wait for the body before it sends any
// answer.
func (p pages) readBody(w http.ResponseWriter, r *http.Request) bool {
	// The answer needs time too, if the body takes all of its own.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(2 * p.server.patience()))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		answer(w, http.StatusRequestEntityTooLarge, plainType,
			fmt.Sprintf("the body is too large; allowed: up to %d bytes", bodyBytes))
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		answer(w, http.StatusRequestTimeout, plainType, "Request Timeout")
	case err != nil:
		answer(w, http.StatusBadRequest, plainType, "Bad Request")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return err == nil
}

// isCalledHere tells whether the Host header is an address or a name of this monitor. If the name of a hostile page
// resolves to the monitor's address, its requests have the monitor's origin, but their Host header has that name.
func (p pages) isCalledHere(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return true
	}
	own, _, _ := net.SplitHostPort(p.server.options.monitor)
	for _, name := range append(p.server.monitorHosts, own) {
		if host != "" && strings.EqualFold(name, host) {
			return true
		}
	}
	return false
}

// isFromHere tells whether no page sends the request, or a page of this server. A browser would send the form of any
// page to an address that only its own machine reaches, but it adds the page's origin to every POST.
func isFromHere(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if len(r.Header.Values("Origin")) == 0 {
		return true
	}
	// The scheme is not compared, because a proxy in front of this server may add TLS.
	_, here, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(here, r.Host)
}
