package websocket

import (
	"bufio"
	"io"
	"net"
	"time"
)

// memory is a socket whose peer has sent certain bytes, and reads nothing.
type memory struct {
	net.Conn
	in io.Reader
}

func bufioReader(m *memory) *bufio.Reader { return bufio.NewReader(m.in) }

func (m *memory) Write(p []byte) (int, error)      { return len(p), nil }
func (m *memory) Close() error                     { return nil }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }
