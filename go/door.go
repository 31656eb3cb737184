package corelane

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

// DoorOptions say what [Monitor.Serve] serves, where, and to whom. The zero value has the defaults.
type DoorOptions struct {
	// Address is "HOST:PORT"; port 0 takes a free one. Empty: "127.0.0.1:9090".
	Address string
	// Names are names that a request's Host header may have besides IP addresses, localhost and the host of the address.
	Names []string
	// Token is the token that a request needs, as "Authorization: Bearer TOKEN": 16 to 256 visible ASCII characters. Empty:
	// everybody may read, and nothing can be changed.
	Token string
	// KeyFile and ChainFile are PEM files, for HTTPS. They are read again when they change.
	KeyFile, ChainFile string
	// NotReady is why /readyz answers 503 at first. Empty: it answers 200.
	NotReady string
	// ProcessMetrics adds the process_ families to /metrics. Leave it off if client_golang serves them too.
	ProcessMetrics bool
	// Connections is the most connections at once, Streams the most streams of events; 0: 128 and 16.
	Connections, Streams int
	// Patience is the time limit for a handshake, a request, and reading an answer; 0: 10 s.
	Patience time.Duration
}

// Door is the library's own HTTP server for a monitor.
type Door struct {
	handle doorHandle
	stop   func() bool
}

var _ io.Closer = (*Door)(nil)

// Serve serves the monitor over HTTP, on a thread of the library's (docs/monitor.md), until the context ends or the door is
// closed. It returns when the door listens. A program with an HTTP server of its own may use [Monitor.Handler] instead.
//
// ErrInvalid: an option; the error says what is allowed. ErrSystem: the address is in use. ErrLimit: 16 doors. ErrStale.
func (m *Monitor) Serve(ctx context.Context, options DoorOptions) (*Door, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	handle, err := m.handle.serve(&options, strings.Join(options.Names, ","))
	if err != nil {
		return nil, err
	}
	door := &Door{handle: handle}
	door.stop = context.AfterFunc(ctx, func() { _ = door.handle.release() })
	return door, nil
}

// Address is where the door listens, as "127.0.0.1:9090". ErrStale after Close.
func (d *Door) Address() (string, error) { return d.handle.address() }

// SetReady says whether the program is ready: /readyz answers 200 if whyNot is empty, otherwise 503 with this text.
func (d *Door) SetReady(whyNot string) error { return d.handle.setReady(whyNot) }

// Close closes the door and its connections. A second call does nothing.
func (d *Door) Close() error {
	d.stop()
	if err := d.handle.release(); !errors.Is(err, ErrStale) {
		return err
	}
	return nil
}
