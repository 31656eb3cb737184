//go:build cgo && !corelane_stub

package corelane

/*
#cgo CFLAGS: -I${SRCDIR}/internal/c
#include <corelane.h>
#include "corelane_lane.h"
*/
import "C"

import (
	"unsafe"

	rings "github.com/corelane/corelane/go/internal/ring"
)

// laneHandle is the library's handle of a lane. The library checks its generation, so a call after the release returns
// ErrStale.
type laneHandle struct{ c C.corelane_lane }

// layoutVersion is the version of docs/layout.md that this package knows.
const layoutVersion = 1

func openLane(r *Router) (laneCalls, *laneMemory, error) {
	var handle laneHandle
	if err := failure(C.corelane_lane_open(r.handle.c, &handle.c), nil); err != nil {
		return nil, nil, err
	}
	memory, err := handle.describe()
	if err != nil {
		_ = handle.release()
		return nil, nil, err
	}
	return handle, memory, nil
}

func (h laneHandle) describe() (*laneMemory, error) {
	memory := &laneMemory{}
	for worker, workers := 0, 1; worker < workers; worker++ {
		layout := C.corelane_lane_layout{size: C.uint32_t(unsafe.Sizeof(C.corelane_lane_layout{}))}
		if err := failure(C.corelane_lane_describe(h.c, C.uint32_t(worker), &layout), nil); err != nil {
			return nil, err
		}
		if layout.layout_version != layoutVersion || layout.features != 0 {
			return nil, &Error{Code: CodeABI, Message: "the library's rings have another layout: use the package and the library of one version"}
		}
		workers = int(layout.workers)
		own := rings.Wake{Word: (*uint32)(unsafe.Pointer(layout.worker_wake)), FD: int32(layout.worker_fd)}
		memory.local = layout.local != 0
		ingress, errIn := rings.Map(ringLayout(&layout.ingress))
		egress, errOut := rings.Map(ringLayout(&layout.egress))
		if errIn != nil || errOut != nil {
			return nil, &Error{Code: CodeABI, Message: "the library's rings have another layout: use the package and the library of one version"}
		}
		memory.workers = append(memory.workers, workerMemory{ingress: ingress, egress: egress, wake: own})
		memory.stampSource, memory.queueMessages = uint64(layout.stamp_source), uint64(layout.queue_messages)
		memory.maxMessage, memory.maxClients = int(layout.max_message), int(layout.max_clients)
		memory.creditMessages, memory.creditBytes = uint64(layout.credit_messages), uint64(layout.credit_bytes)
		memory.wake = rings.Wake{Word: (*uint32)(unsafe.Pointer(layout.lane_wake)), FD: int32(layout.lane_fd)}
	}
	return memory, nil
}

func ringLayout(r *C.corelane_lane_ring) rings.Layout {
	return rings.Layout{
		Base: unsafe.Pointer(r.base), Capacity: uint64(r.capacity), Data: uint32(r.data), Tail: uint32(r.tail),
		Pushed: uint32(r.pushed), RefusedFull: uint32(r.refused_full), Head: uint32(r.head), Popped: uint32(r.popped),
		NeedSpace: uint32(r.need_space), Closed: uint32(r.closed), Corrupt: uint32(r.corrupt),
	}
}

func cClient(id ClientID) C.corelane_client { return C.corelane_client{value: C.uint64_t(id)} }

func (h laneHandle) reserve(name, protocol, application string, policy CreditPolicy) (ClientID, uint32, error) {
	var client C.corelane_client
	var worker C.uint32_t
	detail := newError()
	nameData, nameLength := text(name)
	protocolData, protocolLength := text(protocol)
	applicationData, applicationLength := text(application)
	number := C.int32_t(-1)
	if policy != CreditConfigured {
		number = C.int32_t(policy)
	}
	err := failure(C.corelane_lane_reserve(h.c, nameData, nameLength, protocolData, protocolLength, applicationData,
		applicationLength, number, &client, &worker, &detail), &detail)
	return ClientID(client.value), uint32(worker), err
}

func (h laneHandle) enter(id ClientID) error {
	detail := newError()
	return failure(C.corelane_lane_enter(h.c, cClient(id), &detail), &detail)
}

func (h laneHandle) cancel(id ClientID) error {
	return failure(C.corelane_lane_cancel(h.c, cClient(id)), nil)
}

func (h laneHandle) disconnect(id ClientID) error {
	return failure(C.corelane_lane_disconnect(h.c, cClient(id)), nil)
}

func (h laneHandle) closed(id ClientID) error {
	return failure(C.corelane_lane_closed(h.c, cClient(id)), nil)
}

func (h laneHandle) releaseName(id ClientID) error {
	return failure(C.corelane_lane_release_name(h.c, cClient(id)), nil)
}

func (h laneHandle) join(id ClientID, name string) (RoomID, error) {
	var room C.corelane_room
	detail := newError()
	data, length := text(name)
	err := failure(C.corelane_lane_join(h.c, cClient(id), data, length, &room, &detail), &detail)
	return RoomID(room.value), err
}

func (h laneHandle) leave(id ClientID, room RoomID) error {
	return failure(C.corelane_lane_leave(h.c, cClient(id), C.corelane_room{value: C.uint64_t(room)}), nil)
}

func (h laneHandle) workerOf(id ClientID) (uint32, error) {
	var worker C.uint32_t
	err := failure(C.corelane_lane_worker_of(h.c, cClient(id), &worker), nil)
	return uint32(worker), err
}

func (h laneHandle) workerOfRoom(room RoomID) (uint32, error) {
	var worker C.uint32_t
	err := failure(C.corelane_lane_worker_of_room(h.c, C.corelane_room{value: C.uint64_t(room)}, &worker), nil)
	return uint32(worker), err
}

func (h laneHandle) messageType(protocol, name string) (MessageType, error) {
	var found C.corelane_message_type
	protocolData, protocolLength := text(protocol)
	nameData, nameLength := text(name)
	err := failure(C.corelane_lane_message_type(h.c, protocolData, protocolLength, nameData, nameLength, &found), nil)
	return MessageType(found.value), err
}

func (h laneHandle) put(worker uint32, payload []byte) (uint64, error) {
	var number C.uint64_t
	err := failure(C.corelane_lane_put(h.c, C.uint32_t(worker), (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(payload))),
		C.size_t(len(payload)), &number), nil)
	return uint64(number), err
}

func (h laneHandle) take(worker uint32, number uint64, into []byte) (int, error) {
	var length C.size_t
	err := failure(C.corelane_lane_take(h.c, C.uint32_t(worker), C.uint64_t(number),
		(*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(into))), C.size_t(len(into)), &length), nil)
	return int(length), err
}

func (h laneHandle) refused(reason Reason, count uint64) {
	C.corelane_lane_refused(h.c, C.uint32_t(reason), C.uint64_t(count)) // STALE: the lane is closed, and its figures are final.
}

// isTask says whether messages of a type go to handlers. An empty protocol stands for all.
func (h routerHandle) isTask(protocol, messageType string) (bool, error) {
	detail := newError()
	protocolData, protocolLength := text(protocol)
	typeData, typeLength := text(messageType)
	found := C.corelane_router_is_task(h.c, protocolData, protocolLength, typeData, typeLength, &detail)
	return found > 0, failure(found, &detail)
}

func (h laneHandle) cycle(worker uint32) bool {
	return C.corelane_lane_cycle(h.c, C.uint32_t(worker)) >= 0
}

func (h laneHandle) release() error { return failure(C.corelane_lane_release(h.c), nil) }
