package corelane

import (
	"io"
	"sync/atomic"
)

// Connection is a connection that the program has opened itself. Clients of a router's lanes are counted without it.
type Connection struct {
	monitor *Monitor
	handle  uint64
	name    string
	closed  atomic.Bool
}

var _ io.Closer = (*Connection)(nil)

// Connect counts a connection. The name has 1 to 64 bytes. [ErrNameTaken]: a client of that name is connected; the call
// counts as an attempt to reconnect. [ErrLimit]: `max_recorded_clients` is reached.
func (m *Monitor) Connect(name, application string) (*Connection, error) {
	handle, err := m.handle.connect(name, application)
	if err != nil {
		return nil, err
	}
	connection := &Connection{monitor: m, handle: handle, name: name}
	m.connections.Store(name, connection)
	return connection, nil
}

// Connection returns the connected client with this name, or nil.
func (m *Monitor) Connection(name string) *Connection {
	if found, connected := m.connections.Load(name); connected {
		return found.(*Connection)
	}
	return nil
}

// Reconnected counts an attempt to reconnect that the program has observed.
func (m *Monitor) Reconnected() error { return m.handle.reconnected() }

// Name returns the client's name.
func (c *Connection) Name() string { return c.name }

// Sent counts bytes that were written to the client. It is as cheap as [Recorder.Record].
func (c *Connection) Sent(bytes int) {
	c.monitor.operate(operation{kind: operationSent, handle: c.handle, value: uint64(max(bytes, 0))})
}

// Mark says whether the connection is healthy, after a probe for example.
func (c *Connection) Mark(healthy bool) error { return c.monitor.handle.mark(c.handle, false, healthy) }

// Mark is [Connection.Mark] for a client of the monitor's router. It has no effect while `detailed_stats` is off. ErrStale: the
// client is not connected.
func (m *Monitor) Mark(client ClientID, healthy bool) error {
	return m.handle.mark(uint64(client), true, healthy)
}

// Close counts the end of the connection. A second call does nothing and returns nil.
func (c *Connection) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.monitor.connections.CompareAndDelete(c.name, c)
	c.monitor.Flush() // What it has sent before counts as its own.
	return c.monitor.handle.disconnect(c.handle)
}
