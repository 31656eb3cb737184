package main

// A WebSocket: its state, its queue and its writes. One goroutine reads (client.go). Whoever queues frames writes at once
// what the socket takes; only for the rest is there a goroutine, until the socket has taken it.

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corelane "github.com/corelane/corelane/go"
	"github.com/gorilla/websocket"
)

const (
	// notices is the length of the queue above which the server adds no notices of its own.
	notices = 64
	// inheritedBytes is the most that a connection inherits from its predecessor: the router has returned that credit.
	inheritedBytes = 1 << 20
	// farewell is the time for a peer to answer a closing frame.
	farewell = 2 * time.Second
	// tlsBytes is the most that one write gives to TLS.
	tlsBytes = 16 << 10
)

type state int

const (
	// waiting for the connection that has the id.
	waiting state = iota
	// open: reads and writes.
	open
	// replaced: a newer connection has the id, and will get the queue.
	replaced
	// drained: the server drains, and the router still has messages for the connection.
	drained
	// closing: writes its queue and a closing frame.
	closing
	// aborted: closes at once.
	aborted
)

type conn struct {
	server  *server
	lane    *lane
	socket  *socket
	address netip.Addr
	// stream is the socket, or TLS on it. raw writes to the socket without waiting; nil with TLS.
	stream net.Conn
	raw    syscall.RawConn
	since  time.Time
	id     string

	// heard and progress: whether anything was received, or written, since the last look.
	heard, progress atomic.Bool
	// active is when the last message of the client or for it came that is no heartbeat, in milliseconds of the server's clock.
	active                      atomic.Int64
	heardAt, pingedAt, movingAt time.Time // of the look only

	lock  sync.Mutex
	state state
	why   string // it ends, for the log
	out   queue
	// isDirty: the lane's goroutine will write the queue. isWriting: a goroutine waits for room in the socket.
	isDirty, isWriting bool
	saidClose          bool
	client             *corelane.Client
	// isConnected: in the router. isRouted: the router's last event for the client is still to come.
	isConnected, isRouted bool
	// isOver: the connection becomes no client.
	isOver    bool
	successor chan<- rest
	// claim of the id, in a cluster. isClaiming: a claim for a client that has none is under way.
	claim      *claim
	isClaiming bool
	// hasLeft: with a LEAVE; the id is free.
	hasLeft bool
	// over is closed once the last frames are written.
	over chan struct{}

	// What one write wrote, and its error.
	written  int
	writeErr error
	writeNow func(descriptor uintptr) bool
}

func newConn(server *server, socket *socket, address netip.Addr) *conn {
	c := &conn{server: server, socket: socket, address: address, since: time.Now(), why: "connection lost"}
	c.writeNow = func(descriptor uintptr) bool {
		c.written, c.writeErr = write(descriptor, c.out.pending())
		return true
	}
	c.heard.Store(true)
	return c
}

func (c *conn) attach(stream net.Conn) {
	c.stream = stream
	if plain, ok := stream.(*socket); ok {
		c.raw, _ = plain.SyscallConn() // fails only for a closed socket; then stream.Write tells
	}
}

// wire is the stream as gorilla sees it. What gorilla writes (the answer to the upgrade, a closing frame for a breach of
// the protocol) goes into the queue, so that no frame begins inside another one.
type wire struct {
	net.Conn
	conn *conn
}

func (w wire) Read(into []byte) (int, error) {
	count, err := w.Conn.Read(into)
	if count > 0 && !w.conn.heard.Load() {
		w.conn.heard.Store(true)
	}
	return count, err
}

func (w wire) Write(bytes []byte) (int, error) {
	w.conn.lock.Lock()
	if bytes[0] == wholeMessage|closeFrame {
		w.conn.saidClose, w.conn.why = true, "protocol error of the client"
	}
	w.conn.out.pushRaw(bytes)
	w.conn.flushAndUnlock()
	return len(bytes), nil
}

// SetWriteDeadline does nothing: gorilla's limit for a write is not the queue's.
func (w wire) SetWriteDeadline(time.Time) error { return nil }

// ---------------------------------------------------------------------------------------------------- writing

// say queues a message of the server itself, which takes no credit, and writes it.
func (c *conn) say(text string) {
	c.lock.Lock()
	c.out.push(textFrame, []byte(text), credit{})
	c.flushAndUnlock()
}

// notice queues a control frame or a notice, unless the client leaves such frames unread, and writes it.
func (c *conn) notice(kind byte, payload []byte) {
	c.lock.Lock()
	if c.state == open && c.out.count() < notices {
		c.out.push(kind, payload, credit{})
	}
	c.flushAndUnlock()
}

func (c *conn) flushAndUnlock() {
	written, client := c.flush(), c.client
	c.lock.Unlock()
	acknowledge(client, written)
}

// acknowledge returns the credit of what is written.
func acknowledge(client *corelane.Client, written credit) {
	if written.messages > 0 {
		client.Acknowledge(int(written.messages), int(written.bytes))
	}
}

// isHeld: nothing is written any more. A successor gets the queue, or nobody.
func (c *conn) isHeld() bool { return c.state == replaced || c.state == aborted }

// write is one system call.
func write(descriptor uintptr, bytes []byte) (int, error) {
	for {
		count, err := syscall.Write(int(descriptor), bytes)
		if err != syscall.EINTR {
			return max(count, 0), err
		}
	}
}

// flush writes what the socket takes now, and leaves the rest to a goroutine. Returns the credit of what is written.
// Called with the lock.
func (c *conn) flush() credit {
	var written credit
	if c.isWriting || c.out.isEmpty() || c.isHeld() {
		return written
	}
	if c.raw != nil {
		if err := c.raw.Write(c.writeNow); err != nil {
			c.writeErr = err
		}
		written = c.took()
		if c.writeErr != nil && c.writeErr != syscall.EAGAIN {
			c.lose()
			return written
		}
		if c.out.isEmpty() {
			return written
		}
	}
	c.isWriting = true
	go c.writeRest()
	return written
}

// took removes from the queue what a write has written.
func (c *conn) took() credit {
	count := c.written
	c.written = 0
	if count == 0 {
		return credit{}
	}
	c.progress.Store(true)
	return c.out.taken(count)
}

// writeRest writes until the queue is empty, as the socket gets room.
func (c *conn) writeRest() {
	var err error
	if c.raw == nil {
		err = c.writeTLS()
	} else if failed := c.raw.Write(func(descriptor uintptr) bool {
		var isOver bool
		isOver, err = c.writeSome(descriptor)
		return isOver
	}); failed != nil {
		err = failed
	}
	if err == nil {
		return
	}
	c.lock.Lock()
	c.isWriting = false
	c.lose()
	c.lock.Unlock()
}

// writeSome writes what the socket takes. It returns false if the socket must have room again first. After true without
// an error others write: they wait until this call has ended.
func (c *conn) writeSome(descriptor uintptr) (bool, error) {
	for {
		c.lock.Lock()
		if c.isWritten() {
			c.lock.Unlock()
			return true, nil
		}
		var err error
		c.written, err = write(descriptor, c.out.pending())
		written, client := c.took(), c.client
		c.lock.Unlock()
		acknowledge(client, written)
		if err != nil {
			if err == syscall.EAGAIN {
				return false, nil
			}
			return true, err
		}
	}
}

func (c *conn) writeTLS() error {
	part := make([]byte, 0, tlsBytes)
	for {
		c.lock.Lock()
		if c.isWritten() {
			c.lock.Unlock()
			return nil
		}
		pending := c.out.pending()
		part = append(part[:0], pending[:min(len(pending), tlsBytes)]...)
		written, client := c.out.taken(len(part)), c.client
		c.lock.Unlock()
		if _, err := c.stream.Write(part); err != nil {
			return err
		}
		c.progress.Store(true)
		acknowledge(client, written)
	}
}

// isWritten: the goroutine that writes has nothing more to do. Called with the lock.
func (c *conn) isWritten() bool {
	if !c.out.isEmpty() && !c.isHeld() {
		return false
	}
	c.isWriting = false
	c.tellOver()
	return true
}

// ---------------------------------------------------------------------------------------------------- the end

// close queues a closing frame behind the other frames. The peer then has a moment to answer it.
func (c *conn) close(code int, why string) {
	c.lock.Lock()
	if c.state >= closing {
		c.lock.Unlock()
		return
	}
	if c.state != replaced && why != "" {
		c.why = why
	}
	c.state = closing
	if !c.saidClose {
		c.saidClose = true
		c.out.push(closeFrame, websocket.FormatCloseMessage(code, ""), credit{})
	}
	c.stream.SetDeadline(time.Now().Add(farewell))
	c.flushAndUnlock()
	c.socket.moves(atClosing)
}

// abort closes the socket without a closing frame.
func (c *conn) abort(why string) {
	c.lock.Lock()
	if c.state < closing && why != "" {
		c.why = why
	}
	c.lose()
	c.lock.Unlock()
}

// lose ends a connection whose stream has failed, or must end. The queue stays for a successor. Called with the lock.
func (c *conn) lose() {
	if c.state != aborted {
		c.state = aborted
		// A close waits for the calls that use the socket, and such a call may wait for the lock.
		go c.stream.Close()
	}
	c.tellOver()
}

// tellOver wakes the reading goroutine if it waits for the last frames. Called with the lock.
func (c *conn) tellOver() {
	if c.over != nil {
		close(c.over)
		c.over = nil
	}
}

// finish ends the socket once its last frames are written. Closing a TCP socket with unread bytes sends a reset, which
// can discard the last data before the peer reads it, so the peer closes first, if it does so in time.
func (c *conn) finish() {
	c.lock.Lock()
	var over chan struct{}
	if c.isWriting && c.state == closing {
		over = make(chan struct{})
		c.over = over
	}
	c.lock.Unlock()
	if over != nil {
		<-over // the deadline of the closing bounds the writes
	}
	c.lock.Lock()
	isOrderly := c.state == closing
	c.lock.Unlock()
	if half, ok := c.stream.(interface{ CloseWrite() error }); ok && isOrderly && half.CloseWrite() == nil {
		var rest [512]byte
		for {
			if _, err := c.socket.Read(rest[:]); err != nil {
				break
			}
		}
	}
	c.stream.Close()
}
