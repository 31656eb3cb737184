//go:build !corelane_stub

package corelane

/*
#include <corelane.h>

// One crossing from Go for a whole batch. The structs are those of ring.go and metric.go.
typedef struct { uint64_t kind, handle, value; } go_operation;
typedef struct { uint64_t handle, count; } go_total;
typedef struct { uint64_t handle; double value; } go_level;

// The values of one histogram go together, because a call costs more than a value.
enum { MOST_OPERATIONS = 256, MOST_GROUPS = 8 };

static void go_operate(corelane_monitor monitor, const go_operation *operations, size_t count) {
	uint64_t values[MOST_OPERATIONS];
	uint8_t done[MOST_OPERATIONS] = {0};
	int groups = 0;
	for (size_t at = 0; at < count; at++) {
		const go_operation *one = &operations[at];
		if (at < MOST_OPERATIONS && done[at]) {
			continue;
		}
		if (one->kind != 1) {
			corelane_monitor_record_sent(monitor, (corelane_client){one->handle}, one->value);
			continue;
		}
		if (groups == MOST_GROUPS || at >= MOST_OPERATIONS) {
			corelane_histogram_record((corelane_histogram){one->handle}, one->value);
			continue;
		}
		groups++;
		size_t length = 0;
		for (size_t next = at; next < count && next < MOST_OPERATIONS; next++) {
			if (operations[next].kind == 1 && operations[next].handle == one->handle) {
				values[length++] = operations[next].value;
				done[next] = 1;
			}
		}
		corelane_histogram_record_all((corelane_histogram){one->handle}, values, length);
	}
}

static void go_add(const go_total *totals, size_t count) {
	for (size_t at = 0; at < count; at++) {
		corelane_counter_add((corelane_counter){totals[at].handle}, totals[at].count);
	}
}

static void go_level_all(const go_level *levels, size_t count) {
	for (size_t at = 0; at < count; at++) {
		corelane_gauge_set((corelane_gauge){levels[at].handle}, levels[at].value);
	}
}
*/
import "C"

import (
	"io"
	"math"
	"runtime"
	"time"
	"unsafe"
)

// The layouts are the same on both sides, or the package does not compile.
var (
	_ [sampleSize]byte                       = [unsafe.Sizeof(C.corelane_sample{})]byte{}
	_ [unsafe.Sizeof(sample{})]byte          = [unsafe.Sizeof(C.corelane_sample{})]byte{}
	_ [unsafe.Offsetof(sample{}.client)]int  = [unsafe.Offsetof(C.corelane_sample{}.client)]int{}
	_ [unsafe.Offsetof(sample{}.service)]int = [unsafe.Offsetof(C.corelane_sample{}.service_ns)]int{}
	_ [unsafe.Sizeof(operation{})]byte       = [unsafe.Sizeof(C.go_operation{})]byte{}
	_ [unsafe.Sizeof(total{})]byte           = [unsafe.Sizeof(C.go_total{})]byte{}
	_ [unsafe.Sizeof(level{})]byte           = [unsafe.Sizeof(C.go_level{})]byte{}
)

// monitorHandle is the library's handle: see routerHandle.
type monitorHandle struct{ c C.corelane_monitor }

func startMonitor(config string) (monitorHandle, error) {
	var handle monitorHandle
	detail := newError()
	data, length := text(config)
	err := failure(C.corelane_monitor_start(data, length, &handle.c, &detail), &detail)
	return handle, err
}

func checkMonitor(config string) error {
	var handle C.corelane_monitor
	detail := newError()
	data, length := text(config)
	if err := failure(C.corelane_monitor_new(data, length, &handle, &detail), &detail); err != nil {
		return err
	}
	C.corelane_monitor_release(handle)
	return nil
}

func (h routerHandle) monitor() (monitorHandle, error) {
	var handle monitorHandle
	detail := newError()
	err := failure(C.corelane_router_monitor(h.c, &handle.c, &detail), &detail)
	return handle, err
}

func (h monitorHandle) release() error { return failure(C.corelane_monitor_release(h.c), nil) }

// record hands over a batch. The library takes all of it or nothing: a client of another monitor's cannot be told apart, and
// everything else is checked before, so nothing is refused unless the monitor has been released.
func (h monitorHandle) record(batch []sample) {
	C.corelane_monitor_record(h.c, (*C.corelane_sample)(unsafe.Pointer(&batch[0])), C.size_t(len(batch)))
}

func (h monitorHandle) operate(batch []operation) {
	C.go_operate(h.c, (*C.go_operation)(unsafe.Pointer(&batch[0])), C.size_t(len(batch)))
}

func (h monitorHandle) add(totals []total) {
	C.go_add((*C.go_total)(unsafe.Pointer(&totals[0])), C.size_t(len(totals)))
}

func (h monitorHandle) level(levels []level) {
	C.go_level_all((*C.go_level)(unsafe.Pointer(&levels[0])), C.size_t(len(levels)))
}

func (h monitorHandle) series(protocol, messageType, application string) (uint64, error) {
	var series C.corelane_series
	p, pn := text(protocol)
	t, tn := text(messageType)
	a, an := text(application)
	err := failure(C.corelane_monitor_series(h.c, p, pn, t, tn, a, an, &series), nil)
	return uint64(series.value), err
}

func (h monitorHandle) recordMessage(message *Message) error {
	one := C.corelane_message{
		size:          C.uint32_t(unsafe.Sizeof(C.corelane_message{})),
		reason:        C.uint32_t(recordedReason(message.Reason)),
		bytes:         C.uint64_t(max(message.Bytes, 0)),
		queue_wait_ns: C.uint64_t(message.QueueWait),
		service_ns:    C.uint64_t(message.Service),
	}
	var pins runtime.Pinner // The struct has pointers into Go's memory.
	defer pins.Unpin()
	one.client, one.client_length = pinnedText(&pins, message.Client)
	one.message_type, one.message_type_length = pinnedText(&pins, message.Type)
	one.protocol, one.protocol_length = pinnedText(&pins, message.Protocol)
	one.application, one.application_length = pinnedText(&pins, message.Application)
	detail := newError()
	return failure(C.corelane_monitor_record_message(h.c, &one, &detail), &detail)
}

func (h monitorHandle) connect(name, application string) (uint64, error) {
	var client C.corelane_client
	detail := newError()
	n, nn := text(name)
	a, an := text(application)
	err := failure(C.corelane_monitor_connect(h.c, n, nn, a, an, &client, &detail), &detail)
	return uint64(client.value), err
}

func (h monitorHandle) disconnect(client uint64) error {
	return failure(C.corelane_monitor_disconnect(h.c, C.corelane_client{value: C.uint64_t(client)}), nil)
}

func (h monitorHandle) reconnected() error {
	return failure(C.corelane_monitor_record_reconnect(h.c), nil)
}

func (h monitorHandle) mark(client uint64, routed, healthy bool) error {
	var flag C.int32_t
	if healthy {
		flag = 1
	}
	one := C.corelane_client{value: C.uint64_t(client)}
	kind := C.uint32_t(C.CORELANE_CLIENT_RECORDED)
	if routed {
		kind = C.CORELANE_CLIENT_ROUTED
	}
	return failure(C.corelane_monitor_mark(h.c, one, kind, flag), nil)
}

func (h monitorHandle) report(format ReportFormat) (string, error) {
	text := newText()
	if err := failure(C.corelane_monitor_report(h.c, C.uint32_t(format), &text), nil); err != nil {
		return "", err
	}
	return takeText(&text), nil
}

func (h monitorHandle) reset() error { return failure(C.corelane_monitor_reset(h.c, nil), nil) }

func (h monitorHandle) set(key, value string) error {
	detail := newError()
	k, kn := text(key)
	v, vn := text(value)
	return failure(C.corelane_monitor_set(h.c, k, kn, v, vn, &detail), &detail)
}

func (h monitorHandle) bytes() (uint64, error) {
	var bytes C.uint64_t
	err := failure(C.corelane_monitor_bytes(h.c, &bytes), nil)
	return uint64(bytes), err
}

func (h monitorHandle) history(name string, span Span) (string, error) {
	out := newText()
	n, nn := text(name)
	if err := failure(C.corelane_monitor_history(h.c, n, nn, C.uint32_t(span), &out), nil); err != nil {
		return "", err
	}
	return takeText(&out), nil
}

func (h monitorHandle) historyNames() (string, error) {
	out := newText()
	if err := failure(C.corelane_monitor_history_names(h.c, &out), nil); err != nil {
		return "", err
	}
	return takeText(&out), nil
}

func (h monitorHandle) clients(name string) ([]ClientFigures, error) {
	n, nn := text(name)
	return clientList(2, func(list *C.corelane_client_stats, capacity C.size_t) C.int32_t {
		return C.corelane_monitor_client_figures(h.c, n, nn, list, capacity)
	})
}

func (h monitorHandle) idleClients(longerThan time.Duration) ([]ClientFigures, error) {
	return clientList(64, func(list *C.corelane_client_stats, capacity C.size_t) C.int32_t {
		return C.corelane_monitor_idle_clients(h.c, C.uint64_t(max(longerThan, 0)), list, capacity)
	})
}

// clientList reads a list of clients of whatever length.
func clientList(capacity int, read func(*C.corelane_client_stats, C.size_t) C.int32_t) ([]ClientFigures, error) {
	for {
		list := make([]C.corelane_client_stats, capacity)
		list[0].size = C.uint32_t(unsafe.Sizeof(list[0]))
		count := read(&list[0], C.size_t(capacity))
		if err := failure(count, nil); err != nil {
			return nil, err
		}
		if int(count) > capacity {
			capacity = int(count) + 16
			continue
		}
		clients := make([]ClientFigures, count)
		for at := range clients {
			clients[at] = clientFigures(&list[at])
		}
		return clients, nil
	}
}

func clientFigures(c *C.corelane_client_stats) ClientFigures {
	figures := ClientFigures{
		ID: uint64(c.client.value), Name: fixed(c.name[:]), Application: fixed(c.application[:]),
		Connected: c.connected != 0, Healthy: c.healthy != 0, Recorded: c.kind == C.CORELANE_CLIENT_RECORDED,
		Messages: uint64(c.messages), Errors: uint64(c.errors), BytesIn: uint64(c.bytes_in), BytesOut: uint64(c.bytes_out),
		AverageNanoseconds: known(c.average_ns), LastActivityMilliseconds: uint64(c.last_ms),
		ConnectedForMilliseconds: uint64(c.connected_ms), IdleMilliseconds: uint64(c.idle_ms),
		OutstandingMessages: uint64(c.outstanding_messages), OutstandingBytes: uint64(c.outstanding_bytes),
		OutstandingPeak: uint64(c.outstanding_peak), Undelivered: uint64(c.undelivered),
	}
	if longest := known(c.maximum_ns); longest != nil {
		figures.MaximumNanoseconds = *longest
	}
	if protocol := fixed(c.protocol[:]); protocol != "" {
		figures.Protocol = &protocol
	}
	return figures
}

// known is nil for a figure without a value.
func known(figure C.uint64_t) *uint64 {
	if figure == math.MaxUint64 {
		return nil
	}
	value := uint64(figure)
	return &value
}

type callback struct {
	monitor C.corelane_monitor
	c       C.corelane_callback
}

func (h monitorHandle) reportTo(format ReportFormat, path string) (io.Closer, error) {
	detail := newError()
	listener := callback{monitor: h.c}
	p, pn := text(path)
	status := C.corelane_monitor_report_to(h.c, C.uint32_t(format), p, pn, &listener.c, &detail)
	if err := failure(status, &detail); err != nil {
		return nil, err
	}
	return &listener, nil
}

// Close ends the reports. A second call, and one after the monitor's Close, does nothing.
func (l *callback) Close() error {
	status := C.corelane_monitor_remove_callback(l.monitor, l.c, C.uint64_t(time.Second))
	if status == C.CORELANE_STALE {
		return nil
	}
	return failure(status, nil)
}

func (h monitorHandle) pushRuntime(figures *runtimeSample) {
	one := C.corelane_runtime{
		size:                C.uint32_t(unsafe.Sizeof(C.corelane_runtime{})),
		goroutines:          C.uint64_t(figures.goroutines),
		gc_count:            C.uint64_t(figures.gcCount),
		gc_last_pause_ns:    C.uint64_t(figures.lastPause),
		gc_average_pause_ns: C.uint64_t(figures.averagePause),
		gc_total_pause_ns:   C.uint64_t(figures.totalPause),
		gc_cpu_fraction:     C.double(figures.gcShare),
		heap_bytes:          C.uint64_t(figures.heap),
		stack_bytes:         C.uint64_t(figures.stack),
	}
	C.corelane_monitor_push_runtime(h.c, &one)
}

// metric calls `look` with the description and the values of a metric as C texts.
func metric(description *Metric, values []string, look func(*C.corelane_metric, **C.char, C.size_t, *C.corelane_error) C.int32_t) error {
	var pins runtime.Pinner
	defer pins.Unpin()
	terminated := func(s string) *C.char {
		bytes := make([]byte, len(s)+1)
		copy(bytes, s)
		pins.Pin(&bytes[0])
		return (*C.char)(unsafe.Pointer(&bytes[0]))
	}
	list := func(texts []string) (**C.char, C.size_t) {
		if len(texts) == 0 {
			return nil, 0
		}
		all := make([]*C.char, len(texts))
		for at, text := range texts {
			all[at] = terminated(text)
		}
		pins.Pin(&all[0])
		return &all[0], C.size_t(len(all))
	}
	one := C.corelane_metric{
		size:        C.uint32_t(unsafe.Sizeof(C.corelane_metric{})),
		max_series:  C.uint32_t(max(description.MaxSeries, 0)),
		name:        terminated(description.Name),
		name_length: C.size_t(len(description.Name)),
		help:        terminated(description.Help),
		help_length: C.size_t(len(description.Help)),
		unit:        terminated(description.Unit),
		unit_length: C.size_t(len(description.Unit)),
	}
	one.labels, one.label_count = list(description.Labels)
	texts, count := list(values)
	detail := newError()
	return failure(look(&one, texts, count, &detail), &detail)
}

func (h monitorHandle) counter(description *Metric, values []string) (uint64, error) {
	var out C.corelane_counter
	err := metric(description, values, func(m *C.corelane_metric, v **C.char, n C.size_t, e *C.corelane_error) C.int32_t {
		return C.corelane_monitor_counter(h.c, m, v, n, &out, e)
	})
	return uint64(out.value), err
}

func (h monitorHandle) gauge(description *Metric, values []string) (uint64, error) {
	var out C.corelane_gauge
	err := metric(description, values, func(m *C.corelane_metric, v **C.char, n C.size_t, e *C.corelane_error) C.int32_t {
		return C.corelane_monitor_gauge(h.c, m, v, n, &out, e)
	})
	return uint64(out.value), err
}

func (h monitorHandle) histogram(description *Metric, values []string) (uint64, error) {
	var out C.corelane_histogram
	err := metric(description, values, func(m *C.corelane_metric, v **C.char, n C.size_t, e *C.corelane_error) C.int32_t {
		return C.corelane_monitor_histogram(h.c, m, v, n, &out, e)
	})
	return uint64(out.value), err
}

func (h monitorHandle) releaseCounter(handle uint64) {
	C.corelane_counter_release(C.corelane_counter{value: C.uint64_t(handle)})
}

func (h monitorHandle) releaseGauge(handle uint64) {
	C.corelane_gauge_release(C.corelane_gauge{value: C.uint64_t(handle)})
}

func (h monitorHandle) releaseHistogram(handle uint64) {
	C.corelane_histogram_release(C.corelane_histogram{value: C.uint64_t(handle)})
}
