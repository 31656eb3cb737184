package main

// The server: what its goroutines share, the look for silent clients, and the end.

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	corelane "github.com/corelane/corelane/go"
	"github.com/gorilla/websocket"
)

const (
	// lookEvery is the interval between two looks for silent clients, as in npm's server.
	lookEvery = 300 * time.Millisecond
	// pause: if a look comes this late, the process or its machine was stopped meanwhile.
	pause = 900 * time.Millisecond
	// stopGrace is the time for the closing frames of all sockets when the server stops.
	stopGrace = time.Second
	// stopLimit is the time in which the router routes what it has when the server stops.
	stopLimit = 10 * time.Second
	// manySockets: a flood of fewer takes little memory.
	manySockets = 256
)

type server struct {
	*options
	router      *corelane.Router
	monitor     *corelane.Monitor
	counts      *counts
	registry    *registry
	addresses   addresses
	certificate *certificate // nil without TLS
	lanes       []*lane
	membership  *membership // nil: the server is alone
	draining    atomic.Bool
	started     time.Time
	next        atomic.Uint64

	// open counts the sockets of the public port, mostOpen is the maximum since the last look.
	open, mostOpen, listenersDown atomic.Int64

	// running ends when the server stops: nothing is submitted any more.
	running context.Context
	end     context.CancelFunc

	lock  sync.Mutex
	conns map[*conn]struct{}
	// isOver: no connection is added any more.
	isOver bool
	// none is told when the last connection has gone.
	none *sync.Cond
}

func newServer(options *options, router *corelane.Router, monitor *corelane.Monitor) (*server, error) {
	counts, err := newCounts(monitor)
	if err != nil {
		return nil, err
	}
	s := &server{options: options, router: router, monitor: monitor, counts: counts,
		registry: newRegistry(int(options.concurrentLimit)), conns: map[*conn]struct{}{}, started: time.Now()}
	s.running, s.end = context.WithCancel(context.Background())
	s.addresses.limit, s.addresses.counts = options.maxPerAddress, map[netip.Addr]uint64{}
	s.none = sync.NewCond(&s.lock)
	for range options.lanes {
		inner, err := router.OpenLane()
		if err != nil {
			return nil, err
		}
		s.lanes = append(s.lanes, &lane{server: s, inner: inner})
	}
	return s, nil
}

// now is the time since the start, in milliseconds.
func (s *server) now() int64 { return time.Since(s.started).Milliseconds() }

func (s *server) nextLane() *lane { return s.lanes[s.next.Add(1)%uint64(len(s.lanes))] }

// add makes the connection known to the look and to the end. False: the server is over.
func (s *server) add(c *conn) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if !s.isOver {
		s.conns[c] = struct{}{}
	}
	return !s.isOver
}

func (s *server) remove(c *conn) {
	s.lock.Lock()
	delete(s.conns, c)
	if len(s.conns) == 0 {
		s.none.Broadcast()
	}
	s.lock.Unlock()
}

func (s *server) all() []*conn {
	s.lock.Lock()
	defer s.lock.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// isUnready is why the server cannot serve a further client; empty if it can.
func (s *server) isUnready() string {
	switch {
	case s.running.Err() != nil:
		return "stopping"
	case s.draining.Load():
		return "the server drains"
	case s.membership.isCutOff():
		return "the server cannot reach its cluster"
	case s.listenersDown.Load() > 0:
		return "a listener is down"
	case s.registry.isFull() || uint64(s.open.Load()) >= s.maxConnections:
		return "the server is full"
	}
	return ""
}

// connectionChanged counts failed handshakes, and the end of those that succeed.
func (s *server) connectionChanged(connection net.Conn, to http.ConnState) {
	secured, ok := connection.(*tls.Conn)
	if !ok {
		return
	}
	socket := socketOf(connection)
	switch {
	case to == http.StateActive:
		socket.moves(atHTTP)
	case to == http.StateClosed && !secured.ConnectionState().HandshakeComplete:
		s.refuse(tlsHandshake, socket.peer, "")
	}
}

// socketOf returns the accepted socket under a connection.
func socketOf(connection net.Conn) *socket {
	if secured, ok := connection.(*tls.Conn); ok {
		connection = secured.NetConn()
	}
	return connection.(*socket)
}

// secured puts TLS on a socket of the public port.
func (s *server) secured(socket *socket) net.Conn {
	if s.certificate == nil || !socket.listener.isPublic {
		return socket
	}
	return tls.Server(socket, s.certificate.config)
}

// ---------------------------------------------------------------------------------------------------- the look

// freeAfter has the times after a flood, and after each other, at which memory is given back to the system.
var freeAfter = []time.Duration{0, time.Second, 3 * time.Second}

// look looks for silent clients and for the end of a flood, until the server stops.
func (s *server) look() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	last, resumed := time.Now(), time.Time{}
	var flood flood
	frees, freed := 0, time.Time{}
	for {
		select {
		case <-s.running.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		// After a pause of the process the sockets hold frames that are not read yet, so silence counts from now on.
		if now.Sub(last) > pause {
			resumed = now
		}
		last = now
		for _, c := range s.all() {
			c.look(now, resumed)
		}
		if flood.isOver(s.open.Load(), s.mostOpen.Swap(0)) {
			frees = len(freeAfter)
		}
		// More than once: the goroutines of the last sockets may not have ended yet.
		if frees > 0 && time.Since(freed) >= freeAfter[len(freeAfter)-frees] {
			debug.FreeOSMemory()
			frees, freed = frees-1, time.Now()
		}
		s.certificate.refresh(false)
	}
}

// look closes a client that is silent, or leaves what is written to it unread. Any frame is a sign of life. A silent
// client first gets a ping, because a browser may suspend a page's timers while its connection works.
func (c *conn) look(now, resumed time.Time) {
	limit := c.server.alive()
	c.lock.Lock()
	isOpen, isStuck := c.state == open, c.isWriting
	c.lock.Unlock()
	if c.heard.Swap(false) || c.heardAt.Before(resumed) {
		c.heardAt = now
	}
	if c.progress.Swap(false) || !isStuck || c.movingAt.Before(resumed) {
		c.movingAt = now
	}
	silence := now.Sub(c.heardAt)
	switch {
	case !isOpen:
	case now.Sub(c.movingAt) >= limit:
		c.server.refuse(notRead, c.address, c.id)
		c.leave()
		c.abort("the client does not read")
	case silence >= limit:
		c.leave()
		c.close(websocket.CloseNormalClosure, "silent for --alive_timeout")
	case silence >= limit/3 && now.Sub(c.pingedAt) >= limit/3:
		c.pingedAt = now
		c.notice(pingFrame, nil)
	}
}

// flood tracks the number of open sockets, to detect the end of a flood: its memory is given back to the system then.
type flood struct{ most, last int64 }

func (f *flood) isOver(open, most int64) bool {
	f.most = max(f.most, most)
	isOver := f.most-open >= max(manySockets, f.most/2) && open >= f.last
	f.last = open
	if isOver {
		f.most = open
	}
	return isOver
}

// ---------------------------------------------------------------------------------------------------- the end

// stop ends the server: the clients' messages so far are routed and written, then every socket is closed.
func (s *server) stop(pollers *sync.WaitGroup) {
	s.end()
	s.membership.close()
	limit, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	if err := s.router.Stop(limit); err != nil {
		slog.Error("the router has not stopped", "error", err)
	}
	handedOut := make(chan struct{})
	go func() {
		pollers.Wait()
		close(handedOut)
	}()
	select {
	case <-handedOut:
	case <-limit.Done():
	}
	for _, c := range s.all() {
		c.close(websocket.CloseNormalClosure, "the server stops")
	}
	time.AfterFunc(stopGrace, func() {
		for _, c := range s.all() {
			c.abort("")
		}
	})
	s.lock.Lock()
	s.isOver = true
	for len(s.conns) > 0 {
		s.none.Wait()
	}
	s.lock.Unlock()
	for _, lane := range s.lanes {
		lane.inner.Close()
	}
}
