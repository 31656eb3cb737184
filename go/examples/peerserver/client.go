package main

// The life of a WebSocket. It enters under an id, or is refused with a reason. Then its messages go to the lane, and what
// the lane hands out goes to its queue, which the router's credit bounds. The credit returns once a frame is written.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	corelane "github.com/corelane/corelane/go"
	"github.com/gorilla/websocket"
)

const (
	nameBytes = 64
	// takeOver is the time for which the name of a client that comes back is free. Messages in flight to its old socket
	// arrive in this time and are handed over. New ones are held for the new socket.
	takeOver = 5 * time.Millisecond

	openText    = `{"type":"OPEN"}`
	takenText   = `{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}`
	missingText = "No id, token, or key supplied to websocket server"
	keyText     = "Invalid key provided"
	fullText    = "Server has reached its concurrent user limit"
	drainsText  = "the server drains; connect to another one"
)

// heartbeat is how the HEARTBEAT of a PeerJS client begins. Such a client is idle.
var heartbeat = []byte(`{"type":"HEARTBEAT"`)

// errorText is an ERROR message for a client. The keys have npm's order.
func errorText(message string) string {
	return `{"type":"ERROR","payload":{"msg":` + asJSON(message) + `}}`
}

// admission is what a connection may become. The zero value is a client whose id is its own.
type admission struct {
	// reason and text: it is refused. isUnavailable: with status 503, because another server may take it.
	reason        refusal
	text          string
	isUnavailable bool
	// before is the connection of the same client that must release the id first.
	before *conn
	token  string
	// id is the one that the request names, for the log.
	id string
}

// rest is what a connection hands over to its successor.
type rest struct {
	texts [][]byte
	claim *claim
}

// serve is the connection's goroutine, from the upgrade to the end of the socket.
func (c *conn) serve(opened *websocket.Conn, admitted admission) {
	c.socket.moves(atWebSocket)
	if !c.server.add(c) {
		c.forget(admitted)
		c.stream.Close()
		return
	}
	if c.enter(admitted) {
		slog.Info("connected", "id", c.id, "address", c.address)
	}
	c.read(opened)
	c.finish()
	c.server.remove(c)
	c.lock.Lock()
	why, wasClient := c.why, c.client != nil
	c.lock.Unlock()
	if wasClient {
		slog.Info("disconnected", "id", c.id, "address", c.address, "reason", why, "seconds", int(time.Since(c.since).Seconds()))
	}
}

// ---------------------------------------------------------------------------------------------------- entering

// admit decides before the upgrade to a WebSocket what a connection becomes.
func (c *conn) admit(key, id, token string) admission {
	admitted := c.check(key, id, token)
	admitted.id = id
	return admitted
}

// check checks a query, enters its id and claims it.
func (c *conn) check(key, id, token string) admission {
	switch {
	case key == "" || id == "" || token == "":
		return admission{reason: missingParameters, text: errorText(missingText)}
	case key != c.server.key:
		return admission{reason: wrongKey, text: errorText(keyText)}
	case len(id) > nameBytes:
		return admission{reason: idTooLong, text: errorText(fmt.Sprintf("The id is longer than %d bytes", nameBytes))}
	case c.server.draining.Load():
		return admission{reason: isDraining, text: drainsText, isUnavailable: true}
	}
	c.id = id
	c.lane = c.server.nextLane()
	result, before := c.server.registry.enter(id, token, c.address, c)
	if result == enteredAgain || result == enteredAfter || result == enteredTaken {
		c.server.monitor.Reconnected()
	}
	admitted := admission{before: before, token: token}
	switch result {
	case enteredTaken:
		return admission{reason: idTaken, text: takenText}
	case enteredFull:
		return admission{reason: serverFull, text: errorText(fullText)}
	case enteredAfter: // the claim comes from the predecessor
		return admitted
	}
	if refused := c.claimFor(token); refused.reason != "" {
		c.giveUp()
		return refused
	}
	return admitted
}

// forget gives up what the connection was admitted to.
func (c *conn) forget(admitted admission) {
	if c.id == "" || admitted.reason != "" {
		return
	}
	// The id no longer belongs to the predecessor, so its socket must end too.
	if admitted.before != nil {
		unread := make(chan rest, 1)
		admitted.before.release(unread)
		go func() { (<-unread).claim.release() }()
	}
	c.giveUp()
}

// refuse tells why the connection becomes no client, and closes it.
func (c *conn) refuse(reason refusal, text, id string) bool {
	c.server.refuse(reason, c.address, id)
	c.say(text)
	c.close(websocket.CloseNormalClosure, "refused")
	return false
}

// enter makes the connection a client, or refuses it.
func (c *conn) enter(admitted admission) bool {
	if admitted.reason != "" {
		return c.refuse(admitted.reason, admitted.text, admitted.id)
	}
	var inherited rest
	if admitted.before != nil {
		// Nothing is read until the predecessor has handed over what it has not written.
		handed := make(chan rest, 1)
		admitted.before.release(handed)
		select {
		case inherited = <-handed:
		case <-c.server.running.Done():
		}
		if !inherited.claim.moves(c) {
			inherited.claim = nil // it has lost the id, or has never had a claim
		}
		c.lock.Lock()
		c.claim = inherited.claim
		c.lock.Unlock()
		if inherited.claim == nil {
			if refused := c.claimFor(admitted.token); refused.reason != "" {
				c.giveUp()
				if refused.isUnavailable {
					refused.text = errorText(refused.text)
				}
				return c.refuse(refused.reason, refused.text, c.id)
			}
		}
	}
	return c.connect(inherited.texts)
}

// giveUp frees the id of a connection that does not become a client.
func (c *conn) giveUp() {
	c.server.registry.leave(c.id, c)
	c.lock.Lock()
	c.isRouted, c.isConnected, c.isOver = false, false, true
	c.out = queue{}
	over := c.handOver()
	c.lock.Unlock()
	over.release()
}

// connect enters the router. OPEN comes before anything else.
func (c *conn) connect(inherited [][]byte) bool {
	c.lock.Lock()
	c.out.push(textFrame, []byte(openText), credit{})
	room := inheritedBytes
	for _, text := range inherited {
		if room -= len(text); room < 0 {
			break
		}
		c.out.push(textFrame, text, credit{})
	}
	c.isRouted, c.isConnected = true, true // before an event can come
	c.active.Store(c.server.now())
	c.lock.Unlock()
	client, err := c.lane.inner.Connect(c.id, "peerjs", corelane.ConnectOptions{Application: "peerjs", Value: c})
	if err != nil {
		c.giveUp()
		if errors.Is(err, corelane.ErrLimit) {
			return c.refuse(byRouter, errorText(fullText), c.id)
		}
		return c.refuse(byRouter, errorText(err.Error()), c.id)
	}
	c.lock.Lock()
	c.client = client
	if c.state == waiting {
		c.state = open
	}
	mustLeave, hasSuccessor := c.state != open || !c.isConnected, c.successor != nil
	c.isConnected = true // so that leave disconnects
	held := c.claim
	c.flushAndUnlock()
	if mustLeave { // the router or the server has ended the connection meanwhile
		c.leave()
	} else if hasSuccessor {
		c.beginTakeover("replaced by a new socket of the same client")
	} else {
		c.losesID(held) // the id may have been lost meanwhile
	}
	return true
}

// leave frees the name in the router, then the id. The router still handles what the client has sent; its last event for
// the client is Closed.
func (c *conn) leave() {
	c.lock.Lock()
	wasConnected, client := c.isConnected, c.client
	c.isConnected = false
	c.lock.Unlock()
	if wasConnected && client != nil {
		client.Disconnect() // an error means that the client has gone already
	}
	c.server.registry.leave(c.id, c)
}

// ---------------------------------------------------------------------------------------------------- takeover

// release makes the connection give up its id. What it has not written comes to the channel.
func (c *conn) release(to chan<- rest) {
	c.lock.Lock()
	if c.isOver || !c.isRouted && c.state != waiting {
		c.lock.Unlock()
		to <- rest{}
		return
	}
	// One that is still to connect is released after that, one that leaves by its last event.
	c.successor = to
	isOpen := c.state == open
	c.lock.Unlock()
	if isOpen {
		c.beginTakeover("replaced by a new socket of the same client")
	}
}

func (c *conn) beginTakeover(why string) { c.settle(replaced, why) }

// settle frees the name, and disconnects after the time in which messages in flight arrive.
func (c *conn) settle(to state, why string) {
	c.client.ReleaseName()
	c.lock.Lock()
	if c.state == open {
		c.state, c.why = to, why
	}
	c.lock.Unlock()
	time.AfterFunc(takeOver, c.leave)
}

// handOver gives the successor what is not written, and the claim. Returns a claim that is over. Called with the lock.
func (c *conn) handOver() *claim {
	over := c.claim
	c.claim = nil
	if c.successor == nil {
		return over
	}
	c.successor <- rest{c.out.rest(), over} // has room
	c.successor = nil
	return nil
}

// ---------------------------------------------------------------------------------------------------- reading

// messages are buffers for one message each.
var messages = sync.Pool{New: func() any { return &message{bytes: make([]byte, readBytes)} }}

type message struct{ bytes []byte }

// read submits the client's messages until the socket ends.
func (c *conn) read(opened *websocket.Conn) {
	opened.SetPingHandler(func(data string) error {
		c.notice(pongFrame, []byte(data))
		return nil
	})
	opened.SetCloseHandler(func(int, string) error { return nil })
	for {
		kind, reader, err := opened.NextReader()
		if err == nil {
			err = c.receive(kind, reader)
		}
		if err == nil {
			continue
		}
		c.ended(err)
		return
	}
}

// ended decides how the socket ends after its last frame.
func (c *conn) ended(err error) {
	c.lock.Lock()
	state, isBroken := c.state, c.saidClose && c.state < closing
	c.lock.Unlock()
	if state == open {
		c.leave() // one that is replaced leaves when its time is over
	}
	var said *websocket.CloseError
	switch {
	case state == closing: // the peer has answered, or its time is over
	case state == open && isBroken:
		c.close(websocket.CloseProtocolError, "")
	case state == open && errors.As(err, &said):
		c.close(said.Code, "closed by the client")
	default:
		c.abort("")
	}
}

// receive takes one message. An error ends the connection.
func (c *conn) receive(kind int, reader io.Reader) error {
	message := messages.Get().(*message)
	defer messages.Put(message)
	length := 0
	for {
		count, err := reader.Read(message.bytes[length:])
		length += count
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if length > c.server.maxFrame {
			c.tooLong()
			message.bytes = make([]byte, readBytes)
			return nil
		}
		if length == len(message.bytes) {
			message.bytes = append(message.bytes, make([]byte, length)...)
		}
	}
	text := message.bytes[:length]
	if kind == websocket.TextMessage && !utf8.Valid(text) {
		c.leave()
		c.close(websocket.CloseInvalidFramePayloadData, "protocol error of the client")
		return nil
	}
	c.submit(text)
	if cap(message.bytes) > keptBytes {
		message.bytes = make([]byte, readBytes)
	}
	return nil
}

// tooLong ends a connection whose message is not read to its end.
func (c *conn) tooLong() {
	c.lock.Lock()
	isOpen := c.state == open
	c.lock.Unlock()
	if !isOpen {
		return
	}
	c.server.refuse(frameTooLarge, c.address, c.id)
	c.say(c.tooLarge(fmt.Sprintf("more than %d", c.server.maxFrame)))
	c.leave()
	c.close(websocket.CloseMessageTooBig, "protocol error of the client")
}

func (c *conn) tooLarge(bytes string) string {
	return errorText(fmt.Sprintf("The message has %s bytes; this server delivers up to %d", bytes, c.server.maxMessage))
}

// submit gives a message to the router. While the client's part of the lane is full it waits, and with it the client.
func (c *conn) submit(text []byte) {
	if c.client == nil {
		return // refused
	}
	if !bytes.HasPrefix(text, heartbeat) {
		c.active.Store(c.server.now())
	}
	err := c.client.SubmitWait(c.server.running, text, corelane.SubmitOptions{})
	if errors.Is(err, corelane.ErrTooLarge) {
		c.notice(textFrame, []byte(c.tooLarge(strconv.Itoa(len(text)))))
	}
	// Any other refusal drops the message. The router has counted it.
}
