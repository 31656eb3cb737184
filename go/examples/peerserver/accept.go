package main

// Listeners and the sockets that they accept. Accept never fails: a listener that fails is opened again. When the
// process has no descriptor left, waiting connections are accepted with a spare descriptor and closed, so that their
// peers see the refusal.

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// soon and late are the shortest and the longest pause between two attempts.
	soon = 50 * time.Millisecond
	late = time.Second
	// monitorSockets is the most open sockets of the monitor. Expected are a few people and a collector of figures.
	monitorSockets = 64
	// soReusePort is SO_REUSEPORT of Linux on every machine that corelane supports.
	soReusePort = 0xf
)

// listener accepts the sockets of the public port or of the monitor.
type listener struct {
	server   *server
	isPublic bool
	address  netip.AddrPort

	lock   sync.Mutex
	inner  *net.TCPListener
	closed bool
	// open counts the monitor's sockets.
	open atomic.Int64

	spare        *os.File
	failures     complaints
	shortages    complaints
	isDown, used bool
	pause        time.Duration
}

// listen opens a listening socket. Several may share a port that the first one has.
func listen(address string, shared bool) (*net.TCPListener, error) {
	control := func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(descriptor uintptr) {
			if shared {
				failed = syscall.SetsockoptInt(int(descriptor), syscall.SOL_SOCKET, soReusePort, 1)
			}
		})
		return errors.Join(err, failed)
	}
	// Without TCP's keep-alive: the server sends pings of its own.
	config := net.ListenConfig{Control: control, KeepAlive: -1}
	opened, err := config.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return opened.(*net.TCPListener), nil
}

// openListeners opens as many listeners on one port. A first one that shares nothing detects another server on the
// port.
func openListeners(server *server, address string, count int) ([]*listener, error) {
	first, err := listen(address, false)
	if err != nil {
		return nil, err
	}
	first.Close()
	var opened []*listener
	for range count {
		inner, err := listen(address, true)
		if err != nil {
			return nil, err
		}
		bound := inner.Addr().(*net.TCPAddr).AddrPort()
		address = bound.String() // with port 0 the system has chosen one
		opened = append(opened, &listener{server: server, isPublic: true, inner: inner, address: bound})
	}
	return opened, nil
}

func openMonitorListener(server *server, address string) (*listener, error) {
	inner, err := listen(address, false)
	if err != nil {
		return nil, err
	}
	return &listener{server: server, inner: inner, address: inner.Addr().(*net.TCPAddr).AddrPort()}, nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.address) }

func (l *listener) Close() error {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.closed = true
	return l.inner.Close()
}

func (l *listener) current() (*net.TCPListener, bool) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.inner, l.closed
}

// Accept is called by one goroutine of net/http.
func (l *listener) Accept() (net.Conn, error) {
	if !l.used {
		l.used = true
		l.spare, _ = os.Open(os.DevNull)
	}
	for {
		inner, closed := l.current()
		if closed {
			if l.spare != nil {
				l.spare.Close()
				l.spare = nil
			}
			return nil, net.ErrClosed
		}
		accepted, err := inner.AcceptTCP()
		switch {
		case err == nil:
			l.pause = soon
			if socket := l.admit(accepted); socket != nil {
				return l.server.secured(socket), nil
			}
		case isExhausted(err):
			l.shortages.say(func(count int) {
				slog.Error("cannot accept connections", "error", err, "count", count)
			})
			if !l.refuseWaiting(inner) {
				time.Sleep(soon)
			}
		case isOfPeer(err):
		default:
			l.reopen(err)
		}
	}
}

// refuseWaiting accepts a waiting connection with the spare descriptor and closes it.
func (l *listener) refuseWaiting(inner *net.TCPListener) bool {
	if l.spare == nil {
		l.spare, _ = os.Open(os.DevNull)
		return false
	}
	l.spare.Close()
	inner.SetDeadline(time.Now().Add(soon)) // the connection may have gone
	accepted, err := inner.AcceptTCP()
	inner.SetDeadline(time.Time{})
	var peer netip.Addr
	if err == nil {
		peer = peerAddress(accepted)
		accepted.Close()
	}
	l.spare, _ = os.Open(os.DevNull)
	if err == nil {
		l.server.refuse(noDescriptor, peer, "")
	}
	return err == nil
}

// reopen opens the listener again, once.
func (l *listener) reopen(failed error) {
	if _, closed := l.current(); closed {
		return
	}
	if !l.isDown {
		l.isDown = true
		l.server.listenersDown.Add(1)
		l.pause = soon
	}
	tell := func(err error) {
		l.failures.say(func(count int) {
			slog.Error("a listener failed; opening it again", "address", l.address, "error", err, "count", count)
		})
	}
	tell(failed)
	l.lock.Lock()
	l.inner.Close()
	l.lock.Unlock()
	time.Sleep(l.pause)
	l.pause = min(2*l.pause, late)
	opened, err := listen(l.address.String(), l.isPublic)
	if err != nil {
		tell(err)
		return
	}
	l.lock.Lock()
	if l.closed {
		opened.Close()
	}
	l.inner = opened
	l.lock.Unlock()
	l.isDown = false
	l.server.listenersDown.Add(-1)
	slog.Info("the listener is open again", "address", l.address)
}

// isExhausted: the process or the machine has no descriptor left, or no memory for one.
func isExhausted(err error) bool {
	return isOneOf(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM)
}

// isOfPeer: the connection or its network failed before the accept. The listener itself works.
func isOfPeer(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || isOneOf(err, syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENOPROTOOPT, syscall.EPERM)
}

func isOneOf(err error, codes ...syscall.Errno) bool {
	var code syscall.Errno
	if !errors.As(err, &code) {
		return false
	}
	for _, one := range codes {
		if code == one {
			return true
		}
	}
	return false
}

// complaints limits a log line to one per second, with the number of occurrences.
type complaints struct {
	count int
	said  time.Time
}

func (c *complaints) say(say func(count int)) {
	c.count++
	if now := time.Now(); now.Sub(c.said) >= late {
		say(c.count)
		c.count, c.said = 0, now
	}
}

// admit makes a socket of an accepted connection. Nil: it was refused and closed.
func (l *listener) admit(accepted *net.TCPConn) *socket {
	peer := peerAddress(accepted)
	var reason refusal
	switch {
	case !l.isPublic:
		if l.open.Add(1) > monitorSockets {
			l.open.Add(-1)
			reason = monitorFull
		}
	case uint64(l.server.open.Add(1)) > l.server.maxConnections:
		l.server.open.Add(-1)
		reason = tooManyConnections
	}
	if reason != "" {
		l.server.refuse(reason, peer, "")
		accepted.Close()
		return nil
	}
	socket := &socket{TCPConn: accepted, listener: l, peer: peer}
	if l.isPublic {
		socket.place = atHTTP
		if l.server.certificate != nil {
			socket.place = atHandshake
		}
		l.server.counts.enter(socket.place)
		l.server.mostOpen.Store(max(l.server.mostOpen.Load(), l.server.open.Load()))
		// Behind a proxy all sockets have the proxy's address. The client's address is known only with its request.
		if !l.server.proxied && !socket.countAgainst(peer) {
			socket.Close()
			return nil
		}
	}
	return socket
}

// socket is an accepted connection, counted from its accept to its close.
type socket struct {
	*net.TCPConn
	listener *listener
	peer     netip.Addr

	lock    sync.Mutex
	place   place
	counted netip.Addr // whose limit it uses
	closed  bool
}

// moves puts the socket into another state.
func (s *socket) moves(to place) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if !s.closed && s.listener.isPublic && s.place != to {
		s.listener.server.counts.leave(s.place)
		s.listener.server.counts.enter(to)
		s.place = to
	}
}

// countAgainst counts the socket against the limit of an address. It returns false, with the refusal counted, if that
// is reached.
func (s *socket) countAgainst(address netip.Addr) bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.counted.IsValid() {
		return true
	}
	if !s.listener.server.addresses.enter(address) {
		s.listener.server.refuse(tooManyOfAddress, address, "")
		return false
	}
	s.counted = address
	return true
}

func (s *socket) Close() error {
	err := s.TCPConn.Close()
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.closed {
		return err
	}
	s.closed = true
	if !s.listener.isPublic {
		s.listener.open.Add(-1)
		return err
	}
	s.listener.server.counts.leave(s.place)
	s.listener.server.open.Add(-1)
	if s.counted.IsValid() {
		s.listener.server.addresses.leave(s.counted)
	}
	return err
}
