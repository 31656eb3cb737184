//go:build cgo && !corelane_stub

package corelane

/*
#include <corelane.h>
#include <string.h>

typedef struct go_send { uint64_t client, offset, length; } go_send;
typedef struct go_done { uint64_t id, service_ns; int32_t reason; uint32_t relay, first, amount; } go_done;
typedef struct go_answer { const go_done *done; const go_send *sends; const uint8_t *bytes; } go_answer;

// Sends what the handler has sent, then relays. Runs inside corelane_worker_done.
static int32_t go_answer_task(void *context, corelane_request request) {
  const go_answer *answer = context;
  uint32_t reason = 0;
  for (uint32_t at = 0; at < answer->done->amount; at++) {
    const go_send *send = &answer->sends[answer->done->first + at];
    const corelane_client client = {send->client};
    if (corelane_request_send(request, client, answer->bytes + send->offset, send->length, &reason) < 0) {
      return reason ? (int32_t)reason : CORELANE_REASON_HANDLER_FAILED;
    }
  }
  if (answer->done->relay && corelane_request_relay(request, &reason) < 0) {
    return reason ? (int32_t)reason : CORELANE_REASON_HANDLER_FAILED;
  }
  return 0;
}

// One step of a worker: outcomes back, then the next tasks; waits once if there are none.
static int32_t go_step(corelane_worker worker, const go_done *done, size_t count, const go_send *sends, const uint8_t *bytes,
                       corelane_task *tasks, size_t capacity, uint64_t wait_ns) {
  for (size_t at = 0; at < count; at++) {
    go_answer answer = {&done[at], sends, bytes};
    corelane_done one = CORELANE_DONE_INIT;
    one.id = done[at].id;
    one.reason = done[at].reason;
    one.service_ns = done[at].service_ns;
    if (done[at].amount != 0 || done[at].relay != 0) {
      one.answer = go_answer_task;
      one.context = &answer;
    }
    const int32_t status = corelane_worker_done(worker, &one);
    if (status < 0 && status != CORELANE_NOT_FOUND) {
      return status;
    }
  }
  if (count > 0) {
    corelane_worker_flush(worker);
  }
  tasks[0].size = sizeof tasks[0];
  int32_t taken = corelane_worker_take(worker, tasks, capacity);
  if (taken == 0) {
    taken = corelane_worker_wait(worker, wait_ns);
    if (taken >= 0) {
      taken = corelane_worker_take(worker, tasks, capacity);
    }
  }
  return taken;
}
*/
import "C"

import (
	"time"
	"unsafe"
)

// taskMemory is where a step writes the tasks.
type taskMemory struct{ tasks []C.corelane_task }

func (b *taskBatch) init(size int) {
	b.tasks = make([]Task, size)
	b.c.tasks = make([]C.corelane_task, size)
}

type cWorker struct{ c C.corelane_worker }

func buildServed(config string, protocols []string) (*Router, []taskWorker, error) {
	var builder C.corelane_builder
	detail := newError()
	data, length := text(config)
	if err := failure(C.corelane_builder_new(data, length, &builder, &detail), &detail); err != nil {
		return nil, nil, err
	}
	for _, protocol := range protocols {
		data, length := text(protocol)
		if err := failure(C.corelane_builder_protocol(builder, data, length, &detail), &detail); err != nil {
			C.corelane_builder_release(builder)
			return nil, nil, err
		}
	}
	router := &Router{}
	var workers [64]C.corelane_worker
	count := C.corelane_builder_build(builder, &router.handle.c, &workers[0], C.size_t(len(workers)), &detail)
	if err := failure(count, &detail); err != nil {
		C.corelane_builder_release(builder) // It is released already, except after ErrLimit.
		return nil, nil, err
	}
	driven := make([]taskWorker, int(count))
	for at := range driven {
		driven[at] = &cWorker{workers[at]}
	}
	return router, driven, nil
}

func (w *cWorker) step(answers *taskAnswers, into *taskBatch, wait time.Duration) (int, error) {
	// The views of the last tasks end with their outcomes, so everything is copied below.
	taken := C.go_step(w.c, (*C.go_done)(unsafe.Pointer(unsafe.SliceData(answers.done))), C.size_t(len(answers.done)),
		(*C.go_send)(unsafe.Pointer(unsafe.SliceData(answers.sends))), (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(answers.bytes))),
		&into.c.tasks[0], C.size_t(len(into.c.tasks)), C.uint64_t(wait))
	if err := failure(taken, nil); err != nil {
		return 0, err
	}
	n, total := int(taken), 0
	for at := range n {
		total += int(into.c.tasks[at].length)
	}
	if cap(into.bytes) < total {
		into.bytes = make([]byte, 0, total)
	}
	into.bytes = into.bytes[:0]
	for at := range n {
		from := &into.c.tasks[at]
		start := len(into.bytes)
		into.bytes = append(into.bytes, view(unsafe.Pointer(from.message), from.length)...)
		into.tasks[at] = Task{
			Client: ClientID(from.client.value), Correlation: uint64(from.correlation),
			Waited: time.Duration(from.queue_wait_ns), Name: fixed(from.name[:]),
			Protocol:    into.text(view(unsafe.Pointer(from.protocol), from.protocol_length)),
			Type:        into.text(view(unsafe.Pointer(from.message_type), from.message_type_length)),
			Application: into.text(view(unsafe.Pointer(from.application), from.application_length)),
			Message:     into.bytes[start:len(into.bytes):len(into.bytes)], id: uint64(from.id),
		}
		// No pointer of C's stays in Go's memory.
		*from = C.corelane_task{}
	}
	return n, nil
}

func view(start unsafe.Pointer, length C.size_t) []byte {
	if start == nil {
		return nil
	}
	return unsafe.Slice((*byte)(start), int(length))
}

func (w *cWorker) release() { C.corelane_worker_release(w.c) }
