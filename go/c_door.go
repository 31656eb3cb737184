//go:build cgo && !corelane_stub

package corelane

/*
#include <corelane.h>
*/
import "C"

import (
	"runtime"
	"unsafe"
)

type doorHandle struct{ c C.corelane_door }

func (h monitorHandle) serve(o *DoorOptions, names string) (doorHandle, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	given := C.corelane_door_options{
		size:        C.uint32_t(unsafe.Sizeof(C.corelane_door_options{})),
		connections: C.uint32_t(max(o.Connections, 0)), streams: C.uint32_t(max(o.Streams, 0)),
		patience_ns: C.uint64_t(max(o.Patience, 0)),
	}
	if o.ProcessMetrics {
		given.flags = C.CORELANE_DOOR_PROCESS_METRICS
	}
	given.address, given.address_length = pinnedText(&pins, o.Address)
	given.names, given.names_length = pinnedText(&pins, names)
	given.token, given.token_length = pinnedText(&pins, o.Token)
	given.key_file, given.key_file_length = pinnedText(&pins, o.KeyFile)
	given.chain_file, given.chain_file_length = pinnedText(&pins, o.ChainFile)
	given.not_ready, given.not_ready_length = pinnedText(&pins, o.NotReady)
	var handle doorHandle
	detail := newError()
	err := failure(C.corelane_monitor_serve(h.c, &given, &handle.c, &detail), &detail)
	return handle, err
}

func (h doorHandle) address() (string, error) {
	out := newText()
	if err := failure(C.corelane_door_address(h.c, &out), nil); err != nil {
		return "", err
	}
	return takeText(&out), nil
}

func (h doorHandle) setReady(whyNot string) error {
	data, length := text(whyNot)
	return failure(C.corelane_door_set_ready(h.c, data, length), nil)
}

func (h doorHandle) release() error { return failure(C.corelane_door_release(h.c), nil) }

func (h monitorHandle) answer(request *httpRequest) (httpReply, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	asked := C.corelane_http_request{size: C.uint32_t(unsafe.Sizeof(C.corelane_http_request{}))}
	if request.changeable {
		asked.flags |= C.CORELANE_HTTP_CHANGEABLE
	}
	if request.processMetrics {
		asked.flags |= C.CORELANE_HTTP_PROCESS_METRICS
	}
	asked.method, asked.method_length = pinnedText(&pins, request.method)
	asked.target, asked.target_length = pinnedText(&pins, request.target)
	asked.accept, asked.accept_length = pinnedText(&pins, request.accept)
	asked.last_event, asked.last_event_length = pinnedText(&pins, request.lastEvent)
	if len(request.body) > 0 {
		pins.Pin(&request.body[0])
		asked.body, asked.body_length = (*C.uint8_t)(&request.body[0]), C.size_t(len(request.body))
	}
	reply := C.corelane_http_reply{size: C.uint32_t(unsafe.Sizeof(C.corelane_http_reply{}))}
	out, detail := newText(), newError()
	if err := failure(C.corelane_monitor_answer(h.c, &asked, &reply, &out, &detail), &detail); err != nil {
		return httpReply{}, err
	}
	return httpReply{
		status: int(reply.status), contentType: C.GoString(&reply.content_type[0]), policy: C.GoString(&reply.policy[0]),
		event: uint64(reply.event), body: takeText(&out),
	}, nil
}
