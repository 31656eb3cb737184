package main

// The three pages of npm's server with their CORS headers, and the check of a request for a WebSocket.

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/gorilla/websocket"
)

const (
	description = `{"name":"PeerJS Server","description":"A server side element to broker connections between PeerJS ` +
		`clients.","website":"https://peerjs.com/"}`
	jsonType  = "application/json; charset=utf-8"
	plainType = "text/plain; charset=utf-8"
	htmlType  = "text/html; charset=utf-8"
	// headBytes limits a request's head.
	headBytes = 12 << 10
	// readBytes is the read buffer of a WebSocket. Most messages fit.
	readBytes = 4 << 10
)

type socketKey struct{}

// httpServer is the server of the public port, or of the monitor.
func (s *server) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler,
		// Each of these limits one stage of a connection that is no WebSocket.
		ReadHeaderTimeout: s.patience(), ReadTimeout: s.patience(), WriteTimeout: s.patience(), IdleTimeout: s.patience(),
		MaxHeaderBytes: headBytes,
		ConnContext: func(parent context.Context, connection net.Conn) context.Context {
			return context.WithValue(parent, socketKey{}, socketOf(connection))
		},
		ConnState: s.connectionChanged,
		// net/http logs what peers do wrong; the counts tell it.
		ErrorLog: log.New(io.Discard, "", 0),
		// A WebSocket needs HTTP/1.1.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}

// ServeHTTP answers a request to the public port.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		s.upgrade(w, r)
		return
	}
	rest, ok := below(r.URL.Path, s.base)
	if !ok {
		answer(w, http.StatusNotFound, plainType, "Not Found")
		return
	}
	header := w.Header()
	header.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && s.allows(origin) {
		header.Set("Access-Control-Allow-Origin", origin)
	}
	switch r.Method {
	case http.MethodOptions:
		header.Add("Vary", "Access-Control-Request-Headers")
		header.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
		if names := r.Header.Get("Access-Control-Request-Headers"); names != "" {
			header.Set("Access-Control-Allow-Headers", names)
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodGet, http.MethodHead:
		s.page(w, rest)
	default:
		answer(w, http.StatusNotFound, plainType, "Not Found")
	}
}

// below returns the part of a path below the server's base path.
func below(path, base string) (string, bool) {
	base = strings.TrimSuffix(base, "/")
	if len(path) < len(base) || !strings.EqualFold(path[:len(base)], base) {
		return "", false
	}
	rest := path[len(base):]
	return strings.TrimLeft(rest, "/"), rest == "" || rest[0] == '/'
}

func (s *server) page(w http.ResponseWriter, rest string) {
	_, name, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	switch {
	case rest == "":
		answer(w, http.StatusOK, jsonType, description)
	case strings.EqualFold(name, "id"):
		answer(w, http.StatusOK, htmlType, s.registry.freshID())
	case strings.EqualFold(name, "peers") && s.allowDiscovery:
		answer(w, http.StatusOK, jsonType, asJSON(s.ids()))
	case strings.EqualFold(name, "peers"):
		answer(w, http.StatusUnauthorized, plainType, "Unauthorized")
	default:
		answer(w, http.StatusNotFound, plainType, "Not Found")
	}
}

func answer(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// asJSON is the JSON of numbers, texts and lists, which always have one.
func asJSON(value any) string {
	text, _ := json.Marshal(value)
	return string(text)
}

// isUpgrade tells whether a request is a valid upgrade at the server's path. A Connection header must list Upgrade:
// without it a proxy may not forward the upgrade.
func (s *server) isUpgrade(r *http.Request) bool {
	says := false
	for word := range strings.SplitSeq(strings.Join(r.Header.Values("Connection"), ","), ",") {
		says = says || strings.EqualFold(strings.TrimSpace(word), "upgrade")
	}
	return says && r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && r.URL.Path == s.base+"peerjs" &&
		r.Header.Get("Sec-WebSocket-Version") == "13" && len(r.Header.Get("Sec-WebSocket-Key")) == 24
}

// upgrade answers a request for a WebSocket.
func (s *server) upgrade(w http.ResponseWriter, r *http.Request) {
	socket := r.Context().Value(socketKey{}).(*socket)
	address := s.clientAddress(socket.peer, r.Header)
	if !s.isUpgrade(r) {
		s.refuse(badUpgrade, address, "")
		w.Header().Set("Sec-WebSocket-Version", "13")
		answer(w, http.StatusBadRequest, plainType, "Bad Request")
		return
	}
	// A client that is not a page sends no Origin header, and is allowed.
	if origins := r.Header.Values("Origin"); len(origins) > 0 && !s.allows(origins[0]) {
		s.refuse(wrongOrigin, address, "")
		answer(w, http.StatusForbidden, plainType, "pages of this origin cannot connect; allow the origin with --cors")
		return
	}
	if !socket.countAgainst(address) {
		answer(w, http.StatusTooManyRequests, plainType, "too many connections from this address; close some of them")
		return
	}
	query := r.URL.Query()
	last := func(name string) string { // as in npm's server
		if values := query[name]; len(values) > 0 {
			return values[len(values)-1]
		}
		return ""
	}
	conn := newConn(s, socket, address)
	admitted := conn.admit(last("key"), last("id"), last("token"))
	if admitted.isUnavailable {
		s.refuse(admitted.reason, address, last("id"))
		w.Header().Set("Retry-After", retryAfter)
		answer(w, http.StatusServiceUnavailable, plainType, admitted.text)
		return
	}
	opened, err := upgrader.Upgrade(hijacked{w, conn}, r, nil)
	if err != nil {
		conn.forget(admitted)
		socket.Close()
		return
	}
	// The handler's goroutine ends here, and with it net/http's buffers.
	go conn.serve(opened, admitted)
}

var upgrader = websocket.Upgrader{
	CheckOrigin:    func(*http.Request) bool { return true }, // done by upgrade
	ReadBufferSize: readBytes,
	// The connection writes frames itself; the pool keeps gorilla from holding a buffer for each.
	WriteBufferSize: 256,
	WriteBufferPool: noBuffers{},
}

// noBuffers keeps no buffer: gorilla takes one only to write messages, which it never does here.
type noBuffers struct{}

func (noBuffers) Get() any { return nil }
func (noBuffers) Put(any)  {}

// hijacked gives gorilla the connection's wire in place of the socket.
type hijacked struct {
	http.ResponseWriter
	conn *conn
}

func (h hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	stream, buffers, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn.attach(stream)
	return wire{Conn: stream, conn: h.conn}, buffers, nil
}
