//go:build cgo && !corelane_stub

// Package cport drives an ordinary port through cgo, with one call for each message. Only benchmarks use it: they compare a
// lane with it.
package cport

/*
#include <corelane.h>

static int32_t go_submit(uint64_t port, uint64_t client, const uint8_t *message, size_t length) {
  const corelane_port p = {port};
  const corelane_client c = {client};
  const int32_t status = corelane_port_submit(p, c, message, length, 0);
  corelane_port_publish(p);
  return status;
}

static int32_t go_poll(uint64_t port, uint64_t *out_client, const uint8_t **out_bytes, size_t *out_length) {
  const corelane_port p = {port};
  corelane_event event = CORELANE_EVENT_INIT;
  const int32_t taken = corelane_port_poll(p, &event, 1);
  if (taken > 0) {
    *out_client = event.client.value;
    *out_bytes = event.bytes;
    *out_length = event.length;
  }
  return taken;
}

static int32_t go_acknowledge(uint64_t port, uint64_t client, uint32_t messages, uint32_t bytes) {
  const corelane_port p = {port};
  const corelane_client c = {client};
  return corelane_port_acknowledge(p, c, messages, bytes);
}

static int32_t go_open(uint64_t router, uint64_t *out_port) {
  const corelane_router r = {router};
  corelane_port port = {0};
  const int32_t status = corelane_port_open(r, NULL, &port, NULL);
  *out_port = port.value;
  return status;
}

static int32_t go_connect(uint64_t port, const char *name, size_t length, uint64_t *out_client) {
  const corelane_port p = {port};
  corelane_connect_options options = CORELANE_CONNECT_OPTIONS_INIT;
  corelane_client client = {0};
  options.name = name;
  options.name_length = length;
  options.protocol = "generic";
  const int32_t status = corelane_port_connect(p, &options, &client, NULL);
  *out_client = client.value;
  return status;
}

static int32_t go_release(uint64_t port) {
  const corelane_port p = {port};
  return corelane_port_release(p);
}
*/
import "C"

import "unsafe"

// Port is a port. Its methods return the status of the call.
type Port struct {
	handle C.uint64_t
	// Where a poll writes.
	client C.uint64_t
	bytes  *C.uint8_t
	length C.size_t
}

// Open opens a port of the router with this handle.
func Open(router uint64) (*Port, int) {
	p := &Port{}
	status := C.go_open(C.uint64_t(router), &p.handle)
	return p, int(status)
}

// Connect connects a client.
func (p *Port) Connect(name string) (uint64, int) {
	var client C.uint64_t
	status := C.go_connect(p.handle, (*C.char)(unsafe.Pointer(unsafe.StringData(name))), C.size_t(len(name)), &client)
	return uint64(client), int(status)
}

// Submit submits and publishes a message in one call.
func (p *Port) Submit(client uint64, message []byte) int {
	return int(C.go_submit(p.handle, C.uint64_t(client), (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(message))), C.size_t(len(message))))
}

// Poll takes one event in one call.
func (p *Port) Poll() (client uint64, message []byte, taken int) {
	status := C.go_poll(p.handle, &p.client, &p.bytes, &p.length)
	if status <= 0 {
		return 0, nil, int(status)
	}
	return uint64(p.client), unsafe.Slice((*byte)(unsafe.Pointer(p.bytes)), int(p.length)), 1
}

// Acknowledge acknowledges in one call.
func (p *Port) Acknowledge(client uint64, messages, bytes int) int {
	return int(C.go_acknowledge(p.handle, C.uint64_t(client), C.uint32_t(messages), C.uint32_t(bytes)))
}

// Release releases the port.
func (p *Port) Release() int { return int(C.go_release(p.handle)) }
