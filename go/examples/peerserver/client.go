package main

// The life of a WebSocket. It enters under an id, or is refused with a reason. Then its messages go to the lane, and what
// the lane hands out goes to its queue, which the router's credit bounds. The credit returns once a frame is written.

import (
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
)

// errorText is an ERROR message for a client. The keys have npm's order.
func errorText(message string) string {
	return `{"type":"ERROR","payload":{"msg":` + asJSON(message) + `}}`
}

// serve is the connection's goroutine, from the upgrade to the end of the socket.
func (c *conn) serve(opened *websocket.Conn, key, id, token string) {
	c.socket.moves(atWebSocket)
	if !c.server.add(c) {
		c.stream.Close()
		return
	}
	if c.enter(key, id, token) {
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

// refuse tells why the connection becomes no client, and closes it.
func (c *conn) refuse(reason refusal, text, id string) bool {
	c.server.refuse(reason, c.address, id)
	c.say(text)
	c.close(websocket.CloseNormalClosure, "refused")
	return false
}

// enter makes the connection a client, or refuses it.
func (c *conn) enter(key, id, token string) bool {
	switch {
	case key == "" || id == "" || token == "":
		return c.refuse(missingParameters, errorText(missingText), id)
	case key != c.server.key:
		return c.refuse(wrongKey, errorText(keyText), id)
	case len(id) > nameBytes:
		return c.refuse(idTooLong, errorText(fmt.Sprintf("The id is longer than %d bytes", nameBytes)), id)
	}
	c.id = id
	c.lane = c.server.nextLane()
	result, before := c.server.registry.enter(id, token, c.address, c)
	if result == enteredAgain || result == enteredAfter || result == enteredTaken {
		c.server.monitor.Reconnected()
	}
	var inherited [][]byte
	switch result {
	case enteredTaken:
		return c.refuse(idTaken, takenText, id)
	case enteredFull:
		return c.refuse(serverFull, errorText(fullText), id)
	case enteredAfter:
		// Nothing is read until the predecessor has handed over what it has not written.
		rest := make(chan [][]byte, 1)
		before.release(rest)
		select {
		case inherited = <-rest:
		case <-c.server.running.Done():
		}
	}
	return c.connect(inherited)
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
	c.lock.Unlock()
	client, err := c.lane.inner.Connect(c.id, "peerjs", corelane.ConnectOptions{Application: "peerjs", Value: c})
	if err != nil {
		c.server.registry.leave(c.id, c)
		c.lock.Lock()
		c.isRouted, c.isConnected = false, false
		c.out = queue{}
		c.handOver()
		c.lock.Unlock()
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
	c.flushAndUnlock()
	if mustLeave { // the router or the server has ended the connection meanwhile
		c.leave()
	} else if hasSuccessor {
		c.beginTakeover()
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
func (c *conn) release(to chan<- [][]byte) {
	c.lock.Lock()
	if !c.isRouted && c.state != waiting {
		c.lock.Unlock()
		to <- nil
		return
	}
	// One that is still to connect is released after that, one that leaves by its last event.
	c.successor = to
	isOpen := c.state == open
	c.lock.Unlock()
	if isOpen {
		c.beginTakeover()
	}
}

func (c *conn) beginTakeover() {
	c.client.ReleaseName()
	c.lock.Lock()
	if c.state == open {
		c.state, c.why = replaced, "replaced by a new socket of the same client"
	}
	c.lock.Unlock()
	time.AfterFunc(takeOver, c.leave)
}

// handOver gives the successor what is not written. Called with the lock.
func (c *conn) handOver() {
	if c.successor != nil {
		c.successor <- c.out.rest() // has room
		c.successor = nil
	}
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
	err := c.client.SubmitWait(c.server.running, text, corelane.SubmitOptions{})
	if errors.Is(err, corelane.ErrTooLarge) {
		c.notice(textFrame, []byte(c.tooLarge(strconv.Itoa(len(text)))))
	}
	// Any other refusal drops the message. The router has counted it.
}
