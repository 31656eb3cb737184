// Package websocket is the server's end of RFC 6455: what a signaling server needs, without extensions. The client's end is
// for tests.
package websocket

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Kinds of messages.
const (
	Text   = 1
	Binary = 2
)

const (
	continuation = 0
	closing      = 8
	ping         = 9
	pong         = 10
)

// Codes of a close.
const (
	CodeNormal      = 1000
	CodeGoingAway   = 1001
	CodeProtocol    = 1002
	CodeUnsupported = 1003
	CodeNotUTF8     = 1007
	CodePolicy      = 1008
	CodeTooLarge    = 1009
	CodeInternal    = 1011
	codeNone        = 1005
)

// CloseError says how a connection was closed: by the peer's close, or by this end because of what the peer has sent.
type CloseError struct {
	Code   int
	Reason string
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("websocket: closed with %d %s", e.Code, e.Reason)
}

// Options of a connection.
type Options struct {
	MaxMessage   int           // Bytes of a message; 0 is 64 KiB.
	WriteTimeout time.Duration // For one write; 0 is 10 s.
	IdleTimeout  time.Duration // Without any frame of the peer; 0 for none.
	// Origin says whether a browser's page may connect. nil allows pages of the same host.
	Origin func(origin string, r *http.Request) bool
}

// Conn is a connection. One goroutine reads; any number may write.
type Conn struct {
	socket  net.Conn
	reader  *bufio.Reader
	options Options
	client  bool
	over    atomic.Bool // Close was called.

	lock   sync.Mutex // Of the writing side.
	header [14]byte
	closed bool // A close was written.
}

// Accept answers an upgrade request. If it fails, it has written the response.
func Accept(w http.ResponseWriter, r *http.Request, options Options) (*Conn, error) {
	refuse := func(status int, text string) (*Conn, error) {
		http.Error(w, text, status)
		return nil, errors.New("websocket: " + text)
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	decoded, err := base64.StdEncoding.DecodeString(key)
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		return refuse(http.StatusMethodNotAllowed, "a WebSocket begins with GET")
	case !hasToken(r.Header, "Connection", "upgrade"), !hasToken(r.Header, "Upgrade", "websocket"):
		w.Header().Set("Upgrade", "websocket")
		return refuse(http.StatusUpgradeRequired, "this path is a WebSocket")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		w.Header().Set("Sec-WebSocket-Version", "13")
		return refuse(http.StatusUpgradeRequired, "the version must be 13")
	case err != nil, len(decoded) != 16:
		return refuse(http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		allowed := options.Origin
		if allowed == nil {
			allowed = sameHost
		}
		if !allowed(origin, r) {
			return refuse(http.StatusForbidden, "pages of this origin may not connect")
		}
	}
	socket, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return refuse(http.StatusInternalServerError, "the connection cannot be taken over")
	}
	c := newConn(socket, buffered.Reader, options)
	_ = socket.SetDeadline(time.Now().Add(c.options.WriteTimeout))
	_, err = io.WriteString(socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "+accept(key)+"\r\n\r\n")
	if err == nil {
		err = socket.SetDeadline(time.Time{})
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return c, nil
}

func newConn(socket net.Conn, reader *bufio.Reader, options Options) *Conn {
	if options.MaxMessage == 0 {
		options.MaxMessage = 64 << 10
	}
	if options.WriteTimeout == 0 {
		options.WriteTimeout = 10 * time.Second
	}
	return &Conn{socket: socket, reader: reader, options: options}
}

func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func hasToken(header http.Header, name, token string) bool {
	for _, line := range header.Values(name) {
		for _, one := range strings.Split(line, ",") {
			if strings.EqualFold(strings.TrimSpace(one), token) {
				return true
			}
		}
	}
	return false
}

func sameHost(origin string, r *http.Request) bool {
	page, err := url.Parse(origin)
	return err == nil && strings.EqualFold(page.Host, r.Host)
}

// Read returns the next message: Text or Binary. It answers pings and closes. After an error the connection is of no use.
// `buffer` may be nil; the message is in it if it is large enough.
func (c *Conn) Read(buffer []byte) (kind int, message []byte, err error) {
	message = buffer[:0]
	for {
		first, payload, err := c.frame(message)
		if err != nil {
			return 0, nil, err
		}
		opcode, last := int(first&15), first&128 != 0
		switch {
		case opcode >= closing:
			if err := c.control(opcode, payload[len(message):]); err != nil {
				return 0, nil, err
			}
			continue
		case (opcode == continuation) == (kind == 0):
			return 0, nil, c.fail(CodeProtocol, "a message begins with its kind, and goes on without one")
		case opcode > Binary:
			return 0, nil, c.fail(CodeProtocol, "an unknown kind of frame")
		case opcode != continuation:
			kind = opcode
		}
		message = payload
		if last {
			if kind == Text && !utf8.Valid(message) {
				return 0, nil, c.fail(CodeNotUTF8, "a text must be UTF-8")
			}
			return kind, message, nil
		}
	}
}

// frame reads a frame, and appends its payload to what is there of the message.
func (c *Conn) frame(message []byte) (first byte, payload []byte, err error) {
	if c.options.IdleTimeout > 0 {
		if err := c.socket.SetReadDeadline(time.Now().Add(c.options.IdleTimeout)); err != nil {
			return 0, nil, err
		}
	}
	if c.over.Load() { // After the deadline is set: a Close that comes later sets its own.
		return 0, nil, net.ErrClosed
	}
	var head [8]byte
	if _, err := io.ReadFull(c.reader, head[:2]); err != nil {
		return 0, nil, err
	}
	first = head[0]
	masked, length := head[1]&128 != 0, uint64(head[1]&127)
	control := first&8 != 0
	switch {
	case first&0x70 != 0:
		return 0, nil, c.fail(CodeProtocol, "no extension was agreed on")
	case masked == c.client:
		return 0, nil, c.fail(CodeProtocol, "frames of a client, and only these, are masked")
	case control && (length > 125 || first&128 == 0):
		return 0, nil, c.fail(CodeProtocol, "a control frame is short and whole")
	case length == 126:
		if _, err := io.ReadFull(c.reader, head[:2]); err != nil {
			return 0, nil, err
		}
		length = uint64(binary.BigEndian.Uint16(head[:]))
	case length == 127:
		if _, err := io.ReadFull(c.reader, head[:8]); err != nil {
			return 0, nil, err
		}
		length = binary.BigEndian.Uint64(head[:])
	}
	if !control && length > uint64(c.options.MaxMessage-len(message)) {
		return 0, nil, c.fail(CodeTooLarge, fmt.Sprintf("a message has at most %d bytes", c.options.MaxMessage))
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(c.reader, mask[:]); err != nil {
			return 0, nil, err
		}
	}
	// What a frame announces is not taken at its word: memory grows with what arrives.
	payload = message
	for left := int(length); left > 0; {
		part := min(left, 4096)
		at := len(payload)
		payload = append(payload, make([]byte, part)...)
		if _, err := io.ReadFull(c.reader, payload[at:]); err != nil {
			return 0, nil, err
		}
		left -= part
	}
	if masked {
		apply(payload[len(message):], mask)
	}
	return first, payload, nil
}

func apply(bytes []byte, mask [4]byte) {
	four := uint64(binary.LittleEndian.Uint32(mask[:]))
	eight := four | four<<32
	for len(bytes) >= 8 {
		binary.LittleEndian.PutUint64(bytes, binary.LittleEndian.Uint64(bytes)^eight)
		bytes = bytes[8:]
	}
	for i := range bytes {
		bytes[i] ^= mask[i&3]
	}
}

func (c *Conn) control(opcode int, payload []byte) error {
	switch opcode {
	case ping:
		return c.write(pong, payload)
	case pong:
		return nil
	case closing:
		code, reason := codeNone, ""
		if len(payload) == 1 {
			return c.fail(CodeProtocol, "half a code")
		}
		if len(payload) >= 2 {
			code, reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			if !sendable(code) || !utf8.ValidString(reason) {
				return c.fail(CodeProtocol, "no code of a close")
			}
		}
		answer := code
		if code == codeNone {
			answer = CodeNormal
		}
		c.Close(answer, "")
		return &CloseError{code, reason}
	}
	return c.fail(CodeProtocol, "an unknown kind of frame")
}

func sendable(code int) bool {
	return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006 || code >= 3000 && code <= 4999
}

func (c *Conn) fail(code int, reason string) error {
	c.Close(code, reason)
	return &CloseError{code, reason}
}

// Write writes a message.
func (c *Conn) Write(kind int, message []byte) error { return c.write(kind, message) }

// Ping asks the peer for a sign of life, which ends its idle time.
func (c *Conn) Ping() error { return c.write(ping, nil) }

func (c *Conn) write(opcode int, payload []byte) error {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = opcode == closing
	if err := c.socket.SetWriteDeadline(time.Now().Add(c.options.WriteTimeout)); err != nil {
		return err
	}
	header := append(c.header[:0], 128|byte(opcode))
	switch length := len(payload); {
	case length < 126:
		header = append(header, byte(length))
	case length < 1<<16:
		header = binary.BigEndian.AppendUint16(append(header, 126), uint16(length))
	default:
		header = binary.BigEndian.AppendUint64(append(header, 127), uint64(length))
	}
	if c.client {
		var mask [4]byte
		_, _ = rand.Read(mask[:])
		header[1] |= 128
		header = append(header, mask[:]...)
		payload = append([]byte(nil), payload...)
		apply(payload, mask)
	}
	// One write if it is small: one segment, one system call.
	if len(payload) <= 4096 {
		var small [4096 + 14]byte
		n := copy(small[:], header)
		n += copy(small[n:], payload)
		_, err := c.socket.Write(small[:n])
		return err
	}
	buffers := net.Buffers{header, payload}
	_, err := buffers.WriteTo(c.socket)
	return err
}

// Close tells the peer, and closes the connection. A second call does nothing.
func (c *Conn) Close(code int, reason string) {
	if c.over.Swap(true) {
		return
	}
	reason = strings.ToValidUTF8(reason[:min(len(reason), 120)], "")
	_ = c.write(closing, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
	if socket, ok := c.socket.(*net.TCPConn); ok {
		// Unread bytes would make the close a reset, which can destroy the close frame on its way.
		_ = socket.CloseWrite()
		_ = socket.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if c.client {
			socket.Close()
			return
		}
		go func() {
			_, _ = io.Copy(io.Discard, io.LimitReader(socket, 1<<20))
			socket.Close()
		}()
		return
	}
	c.socket.Close()
}

// Dial connects to ws://host/path. For tests and small programs.
func Dial(ctx context.Context, address string, options Options) (*Conn, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	socket, err := dialer.DialContext(ctx, "tcp", target.Host)
	if err != nil {
		return nil, err
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:])
	key := base64.StdEncoding.EncodeToString(nonce[:])
	c := newConn(socket, bufio.NewReader(socket), options)
	c.client = true
	_ = socket.SetDeadline(time.Now().Add(c.options.WriteTimeout))
	_, err = fmt.Fprintf(socket, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", target.RequestURI(), target.Host, key)
	if err == nil {
		var response *http.Response
		response, err = http.ReadResponse(c.reader, nil)
		if err == nil && (response.StatusCode != http.StatusSwitchingProtocols ||
			response.Header.Get("Sec-WebSocket-Accept") != accept(key)) {
			text, _ := io.ReadAll(io.LimitReader(response.Body, 200))
			err = fmt.Errorf("websocket: %s: %s", response.Status, text)
		}
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return c, socket.SetDeadline(time.Time{})
}
