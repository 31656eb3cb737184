// Package host wraps the calls into the library that the Go programs make through cgo, for a port whose rings package
// ring drives.
package host

/*
#include <stdlib.h>
#include "corelane.h"
#include "corelane_memory.h"
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"corelane.test/ffi/ring"
)

// Statuses that the programs check for.
const (
	OK     = int32(C.CORELANE_OK)
	Full   = int32(C.CORELANE_FULL)
	Limit  = int32(C.CORELANE_LIMIT)
	Closed = int32(C.CORELANE_CLOSED)
)

// Need ends the program if the condition does not hold.
func Need(condition bool, what string) {
	if !condition {
		_, file, line, _ := runtime.Caller(1)
		fmt.Fprintf(os.Stderr, "%s:%d: %s does not hold\n", file[strings.LastIndexByte(file, '/')+1:], line, what)
		os.Exit(1)
	}
}

// Router is a running router.
type Router struct{ handle C.corelane_router }

// Start starts a router.
func Start(config string) (router Router) {
	text := C.CString(config)
	defer C.free(unsafe.Pointer(text))
	failure := new(C.corelane_error)
	failure.size = C.uint32_t(unsafe.Sizeof(*failure))
	status := C.corelane_router_start(text, C.size_t(len(config)), &router.handle, failure)
	Need(status == C.CORELANE_OK, "start: "+C.GoString(&failure.message[0]))
	return router
}

// Stop stops the router.
func (r Router) Stop() int32 { return int32(C.corelane_router_stop(r.handle, 5_000_000_000)) }

// Release releases the router.
func (r Router) Release() int32 { return int32(C.corelane_router_release(r.handle)) }

// Figure is the sum of a family's samples whose line contains the label, from the router's Prometheus text.
func (r Router) Figure(family, label string) (total uint64) {
	text := new(C.corelane_text)
	text.size = C.uint32_t(unsafe.Sizeof(*text))
	Need(C.corelane_router_prometheus(r.handle, text) == C.CORELANE_OK, "the metrics")
	defer C.corelane_text_free(text)
	for _, line := range strings.Split(C.GoStringN(text.data, C.int(text.length)), "\n") {
		rest, found := strings.CutPrefix(line, family)
		if found && (strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, " ")) && strings.Contains(line, label) {
			value, _ := strconv.ParseUint(line[strings.LastIndexByte(line, ' ')+1:], 10, 64)
			total += value
		}
	}
	return total
}

// Port is a port with its rings. Open makes it inline.
type Port struct {
	ring.Port
	// Between, if set, runs after a call that pushes and before the positions are taken over.
	Between func()
	handle  C.corelane_port
}

// Port opens a port. The library still drives its rings.
func (r Router) Port() *Port {
	port := &Port{}
	status := C.int32_t(C.CORELANE_LIMIT)
	for turn := 0; turn < 1000 && status == C.CORELANE_LIMIT; turn++ {
		status = C.corelane_port_open(r.handle, nil, &port.handle, nil)
	}
	Need(status == C.CORELANE_OK, "a port")
	return port
}

func memory(from *C.corelane_ring) ring.Memory {
	return ring.Memory{
		Base: unsafe.Pointer(from.base), Capacity: uint64(from.capacity), Data: uint32(from.data),
		Tail: uint32(from.tail), Pushed: uint32(from.pushed), RefusedFull: uint32(from.refused_full),
		Head: uint32(from.head), Popped: uint32(from.popped), Taken: uint32(from.taken), Handed: uint32(from.handed),
		NeedSpace: uint32(from.need_space), ClosedWord: uint32(from.closed), CorruptWord: uint32(from.corrupt),
	}
}

func word(at *C.uint64_t) *uint64 { return (*uint64)(unsafe.Pointer(at)) }

// Open makes the port inline: package ring drives its rings.
func (p *Port) Open() {
	Need(C.corelane_port_inline(p.handle) == C.CORELANE_OK, "inline")
	for worker, workers := 0, 1; worker < workers; worker++ {
		layout := new(C.corelane_layout)
		layout.size = C.uint32_t(unsafe.Sizeof(*layout))
		Need(C.corelane_port_layout(p.handle, C.uint32_t(worker), layout) == C.CORELANE_OK, "layout")
		wake := ring.Wake{Word: (*uint32)(unsafe.Pointer(layout.worker_wake)), FD: -1}
		to, toErr := ring.NewProducer(memory(&layout.ingress), wake)
		from, fromErr := ring.NewConsumer(memory(&layout.egress), wake)
		Need(toErr == nil && fromErr == nil, "the layout")
		p.Lanes = append(p.Lanes, &ring.Lane{To: to, From: from})
		workers, p.StampSource = int(layout.workers), uint64(layout.stamp_source)
		slots, counts := &layout.slots, &layout.counts
		p.Own = ring.Wake{Word: (*uint32)(unsafe.Pointer(layout.port_wake)), FD: int32(layout.port_fd)}
		p.Slots = ring.Slots{
			Base: unsafe.Pointer(slots.base), Count: uint32(slots.count), Stride: uint32(slots.stride),
			Place: uint32(slots.place), State: uint32(slots.state), Token: uint32(slots.token),
			Submitted: uint32(slots.submitted), Handed: uint32(slots.handed), Credit: uint32(slots.credit),
			Track: uint32(slots.track), SampledAt: uint32(slots.sampled_at),
		}
		p.Counts = ring.Counts{
			Submitted: word(counts.submitted), Consumed: word(counts.consumed), Polls: word(counts.polls),
			UndeliverableClosed: word(counts.undeliverable_closed), UndeliverableLost: word(counts.undeliverable_payload_lost),
			OutstandingMessages: word(counts.outstanding_messages_maximum),
			OutstandingBytes:    word(counts.outstanding_bytes_maximum),
			Refused:             unsafe.Slice(word(counts.refused), int(counts.refused_count)),
		}
		p.Number, p.MaxMessage = uint32(layout.port), uint32(layout.max_message)
		p.Draining = (*byte)(unsafe.Pointer(layout.draining))
	}
	p.ClientClosed = func(client uint64) {
		Need(C.corelane_client_closed(p.handle, C.corelane_client{value: C.uint64_t(client)}) == C.CORELANE_OK, "closed")
	}
	p.PayloadTake = p.Payload
	p.PayloadRelease = func() { Need(C.corelane_payload_release(p.handle) == C.CORELANE_OK, "release of payloads") }
	p.Closings = p.closings
	Need(p.Port.Open() == nil, "open")
}

// Payload takes an out-of-line payload.
func (p *Port) Payload(number uint64) (payload []byte, found bool) {
	var bytes *C.uint8_t
	var length C.size_t
	if C.corelane_payload_take(p.handle, C.uint64_t(number), &bytes, &length) != C.CORELANE_OK {
		return nil, false
	}
	if length > 0 {
		payload = unsafe.Slice((*byte)(unsafe.Pointer(bytes)), int(length))
	}
	return payload, true
}

func (p *Port) closings(events []ring.Event, room int) ([]ring.Event, error) {
	var places [16]C.corelane_event
	places[0].size = C.uint32_t(unsafe.Sizeof(places[0]))
	status := C.corelane_port_closings(p.handle, &places[0], C.size_t(min(room, len(places))))
	for at := 0; at < int(status); at++ {
		one := &places[at]
		events = append(events, ring.Event{
			Kind: uint16(one.kind), Reason: uint16(one.reason), Client: uint64(one.client.value), Token: uint64(one.token),
		})
	}
	switch {
	case status == C.CORELANE_CLOSED:
		return events, ring.ErrClosed
	case status == C.CORELANE_AGAIN:
		return events, ring.ErrAgain
	}
	Need(status >= 0, "closings")
	return events, nil
}

// pushing runs a call that pushes.
func (p *Port) pushing(call func() C.int32_t) int32 {
	inline := len(p.Lanes) > 0
	if inline {
		p.Suspend()
	}
	status := call()
	if p.Between != nil {
		p.Between()
	}
	if inline {
		Need(p.Resume(0) == nil, "the rings after a call")
	}
	return int32(status)
}

// Connect connects a client with the protocol generic.
func (p *Port) Connect(name string, token uint64) (client uint64, status int32) {
	text, protocol := C.CString(name), C.CString("generic")
	defer C.free(unsafe.Pointer(text))
	defer C.free(unsafe.Pointer(protocol))
	// The struct has pointers, so it stands in C's memory.
	options := (*C.corelane_connect_options)(C.calloc(1, C.sizeof_corelane_connect_options))
	defer C.free(unsafe.Pointer(options))
	options.size, options.token = C.sizeof_corelane_connect_options, C.uint64_t(token)
	options.name, options.name_length = text, C.size_t(len(name))
	options.protocol, options.protocol_length = protocol, C.CORELANE_NUL_TERMINATED
	var handle C.corelane_client
	status = p.pushing(func() C.int32_t { return C.corelane_port_connect(p.handle, options, &handle, nil) })
	return uint64(handle.value), status
}

// Send submits with a call; on an inline port for messages that do not fit a ring.
func (p *Port) Send(client uint64, message []byte, correlation uint64) int32 {
	return p.pushing(func() C.int32_t {
		return C.corelane_port_submit(p.handle, C.corelane_client{value: C.uint64_t(client)}, (*C.uint8_t)(unsafe.Pointer(&message[0])),
			C.size_t(len(message)), C.uint64_t(correlation))
	})
}

// Disconnect disconnects a client and returns how many disconnects wait for space.
func (p *Port) Disconnect(client uint64) int32 {
	return p.waiting(func() C.int32_t { return C.corelane_port_disconnect(p.handle, C.corelane_client{value: C.uint64_t(client)}) })
}

// PushWaiting pushes the disconnects that wait for space and returns how many still wait.
func (p *Port) PushWaiting() int32 {
	return p.waiting(func() C.int32_t { return C.corelane_port_publish(p.handle) })
}

func (p *Port) waiting(call func() C.int32_t) int32 {
	status := p.pushing(call)
	Need(status >= 0 && p.Resume(int(status)) == nil, "a call that pushes disconnects")
	return status
}

// Acknowledge acknowledges messages and bytes of a client's deliveries.
func (p *Port) Acknowledge(client uint64, messages, bytes uint32) {
	status := C.corelane_port_acknowledge(p.handle, C.corelane_client{value: C.uint64_t(client)}, C.uint32_t(messages), C.uint32_t(bytes))
	Need(status == C.CORELANE_OK, "acknowledge")
}

// Give releases the port.
func (p *Port) Give() int32 { return int32(C.corelane_port_release(p.handle)) }
