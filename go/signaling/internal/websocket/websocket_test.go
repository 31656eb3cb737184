package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// echo returns the address of a server that sends every message back, and what its reads ended with.
func echo(t *testing.T, options Options) (string, chan error) {
	t.Helper()
	ended := make(chan error, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, options)
		if err != nil {
			return
		}
		for {
			kind, message, err := c.Read(nil)
			if err == nil {
				err = c.Write(kind, message)
			}
			if err != nil {
				ended <- err
				c.Close(CodeInternal, "")
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http"), ended
}

func dial(t *testing.T, address string) *Conn {
	t.Helper()
	c, err := Dial(context.Background(), address, Options{MaxMessage: 1 << 20, IdleTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.socket.Close() })
	return c
}

func TestMessagesOfAllSizesComeBack(t *testing.T) {
	address, _ := echo(t, Options{MaxMessage: 1 << 20})
	c := dial(t, address)
	for _, size := range []int{0, 1, 7, 8, 125, 126, 127, 4095, 4096, 4097, 65535, 65536, 1 << 20} {
		sent := bytes.Repeat([]byte("é1"), size/3+1)[:size/3*3]
		if err := c.Write(Text, sent); err != nil {
			t.Fatal(err)
		}
		kind, got, err := c.Read(nil)
		if err != nil || kind != Text || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes: kind %d, %d bytes, %v", len(sent), kind, len(got), err)
		}
	}
	if err := c.Write(Binary, []byte{0xff, 0}); err != nil {
		t.Fatal(err)
	}
	if kind, got, err := c.Read(nil); err != nil || kind != Binary || !bytes.Equal(got, []byte{0xff, 0}) {
		t.Fatal(kind, got, err)
	}
}

// raw writes frames as they are: each as its first byte and its payload, masked.
func (c *Conn) raw(t *testing.T, first byte, payload string) {
	t.Helper()
	frame := []byte{first, 128 | byte(len(payload)), 1, 2, 3, 4}
	if len(payload) > 125 {
		t.Fatal("too long")
	}
	masked := []byte(payload)
	apply(masked, [4]byte{1, 2, 3, 4})
	if _, err := c.socket.Write(append(frame, masked...)); err != nil {
		t.Fatal(err)
	}
}

func TestFragmentsWithPingsBetweenAreOneMessage(t *testing.T) {
	address, _ := echo(t, Options{})
	c := dial(t, address)
	c.raw(t, Text, "a\xc3")
	c.raw(t, 128|ping, "alive?")
	c.raw(t, continuation, "\xa9")
	c.raw(t, 128|continuation, "z")
	first, payload, err := c.frame(nil)
	if err != nil || first != 128|pong || string(payload) != "alive?" {
		t.Fatal(first, string(payload), err)
	}
	if _, got, err := c.Read(nil); err != nil || string(got) != "aéz" {
		t.Fatal(string(got), err)
	}
}

func TestWhatBreaksTheProtocolIsClosedWithItsCode(t *testing.T) {
	code := func(n uint16, text string) string {
		return string(binary.BigEndian.AppendUint16(nil, n)) + text
	}
	for name, test := range map[string]struct {
		code int
		send func(t *testing.T, c *Conn)
	}{
		"not UTF-8":              {CodeNotUTF8, func(t *testing.T, c *Conn) { c.raw(t, 128|Text, "\xff") }},
		"reserved bit":           {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, 128|64|Text, "a") }},
		"unknown opcode":         {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, 128|3, "a") }},
		"unknown control":        {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, 128|11, "a") }},
		"continues nothing":      {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, 128|continuation, "a") }},
		"begins inside":          {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, Text, "a"); c.raw(t, 128|Text, "b") }},
		"fragmented ping":        {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, ping, "a") }},
		"close with half a code": {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, 128|closing, "a") }},
		"close with a bad code":  {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, 128|closing, code(1005, "")) }},
		"close with bad text":    {CodeProtocol, func(t *testing.T, c *Conn) { c.raw(t, 128|closing, code(1000, "\xff")) }},
		"close":                  {1001, func(t *testing.T, c *Conn) { c.raw(t, 128|closing, code(1001, "bye")) }},
		"close without a code":   {1000, func(t *testing.T, c *Conn) { c.raw(t, 128|closing, "") }},
		"not masked": {CodeProtocol, func(t *testing.T, c *Conn) {
			_, _ = c.socket.Write([]byte{128 | Text, 1, 'a'})
		}},
		"too large": {CodeTooLarge, func(t *testing.T, c *Conn) {
			_, _ = c.socket.Write([]byte{128 | Text, 128 | 127, 0, 0, 0, 0, 0xff, 0, 0, 0, 1, 2, 3, 4})
		}},
		"length of all bits": {CodeTooLarge, func(t *testing.T, c *Conn) {
			_, _ = c.socket.Write([]byte{128 | Text, 128 | 127, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4})
		}},
		"too large in parts": {CodeTooLarge, func(t *testing.T, c *Conn) {
			for range 10 {
				c.raw(t, Text&^Text|Text, strings.Repeat("a", 10))
				return
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			options := Options{MaxMessage: 100}
			if name == "too large in parts" {
				options.MaxMessage = 9
			}
			address, ended := echo(t, options)
			c := dial(t, address)
			test.send(t, c)
			_, _, err := c.Read(nil)
			var closed *CloseError
			if !errors.As(err, &closed) || closed.Code != test.code {
				t.Fatalf("the client got %v, not %d", err, test.code)
			}
			if err := <-ended; err == nil {
				t.Fatal("the server reads on")
			}
		})
	}
}

func TestWhoIsSilentIsGivenUp(t *testing.T) {
	address, ended := echo(t, Options{IdleTimeout: 50 * time.Millisecond})
	c := dial(t, address)
	select {
	case err := <-ended:
		if err == nil {
			t.Fatal("no error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the server waits for ever")
	}
	if _, _, err := c.Read(nil); err == nil {
		t.Fatal("the connection is open")
	}
}

func TestRequestsThatAreNoUpgradeAreAnswered(t *testing.T) {
	address, _ := echo(t, Options{})
	address = "http" + strings.TrimPrefix(address, "ws")
	good := map[string]string{"Connection": "keep-alive, Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
	for name, test := range map[string]struct {
		method, header, value string
		status                int
	}{
		"POST":        {"POST", "", "", 405},
		"no upgrade":  {"GET", "Upgrade", "h2c", 426},
		"connection":  {"GET", "Connection", "close", 426},
		"version":     {"GET", "Sec-WebSocket-Version", "8", 426},
		"key":         {"GET", "Sec-WebSocket-Key", "short", 400},
		"origin":      {"GET", "Origin", "http://other.example", 403},
		"bad origin":  {"GET", "Origin", "null", 403},
		"same origin": {"GET", "Origin", address, 101},
		"none":        {"GET", "", "", 101},
	} {
		t.Run(name, func(t *testing.T) {
			request, _ := http.NewRequest(test.method, address, nil)
			for header, value := range good {
				request.Header.Set(header, value)
			}
			if test.header != "" {
				request.Header.Set(test.header, test.value)
			}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != test.status {
				t.Fatal(response.Status)
			}
		})
	}
}

// The example of RFC 6455, 1.3.
func TestAcceptKey(t *testing.T) {
	if got := accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatal(got)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{129, 129, 1, 2, 3, 4, 5})
	f.Add([]byte{1, 128, 0, 0, 0, 0, 128, 128, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		socket := &memory{in: bytes.NewReader(data)}
		c := newConn(socket, bufioReader(socket), Options{MaxMessage: 1000})
		for range 100 {
			_, message, err := c.Read(nil)
			if err != nil {
				return
			}
			if len(message) > 1000 {
				t.Fatal("too large")
			}
		}
	})
}
