//go:build !corelane_stub

package corelane

// #include <corelane.h>
import "C"

import "time"

// routerHandle is the library's handle. The library checks its generation: a call after the release returns ErrStale, also
// if both run at once.
type routerHandle struct{ c C.corelane_router }

func startRouter(config string, protocols []string) (routerHandle, error) {
	var handle routerHandle
	var builder C.corelane_builder
	detail := newError()
	data, length := text(config)
	if err := failure(C.corelane_builder_new(data, length, &builder, &detail), &detail); err != nil {
		return handle, err
	}
	for _, protocol := range protocols {
		data, length := text(protocol)
		if err := failure(C.corelane_builder_protocol(builder, data, length, &detail), &detail); err != nil {
			C.corelane_builder_release(builder)
			return handle, err
		}
	}
	err := failure(C.corelane_builder_start(builder, &handle.c, &detail), &detail)
	return handle, err
}

func (h routerHandle) drain() error       { return failure(C.corelane_router_drain(h.c, 0), nil) }
func (h routerHandle) requestStop() error { return failure(C.corelane_router_request_stop(h.c), nil) }
func (h routerHandle) release() error     { return failure(C.corelane_router_release(h.c), nil) }

func (h routerHandle) stop(limit time.Duration) error {
	return failure(C.corelane_router_stop(h.c, C.uint64_t(limit)), nil)
}

func (h routerHandle) setActiveWorkers(workers int) error {
	if workers < 0 {
		workers = 0 // Not allowed: the error says the range.
	}
	return failure(C.corelane_router_set_active_workers(h.c, C.size_t(workers)), nil)
}

func (h routerHandle) prometheus() (string, error) {
	text := newText()
	if err := failure(C.corelane_router_prometheus(h.c, &text), nil); err != nil {
		return "", err
	}
	return takeText(&text), nil
}
