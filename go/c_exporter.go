//go:build cgo && !corelane_stub

package corelane

/*
#include <corelane.h>
*/
import "C"

import (
	"runtime"
	"time"
	"unsafe"
)

type exporterHandle struct{ c C.corelane_exporter }

func (h monitorHandle) exportToElasticsearch(o *ElasticsearchOptions) (exporterHandle, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	given := C.corelane_elasticsearch_options{
		size:        C.uint32_t(unsafe.Sizeof(C.corelane_elasticsearch_options{})),
		interval_ns: C.uint64_t(max(o.Interval, 0)), request_timeout_ns: C.uint64_t(max(o.RequestTimeout, 0)),
		queue_bytes: C.uint64_t(o.QueueBytes),
	}
	if o.NoConnections {
		given.flags |= C.CORELANE_ELASTICSEARCH_NO_CONNECTIONS
	}
	if o.NoTemplates {
		given.flags |= C.CORELANE_ELASTICSEARCH_NO_TEMPLATES
	}
	given.url, given.url_length = pinnedText(&pins, o.URL)
	given.user, given.user_length = pinnedText(&pins, o.User)
	given.password, given.password_length = pinnedText(&pins, o.Password)
	given.api_key, given.api_key_length = pinnedText(&pins, o.APIKey)
	given.certificates, given.certificates_length = pinnedText(&pins, o.Certificates)
	given.stream_namespace, given.stream_namespace_length = pinnedText(&pins, o.Namespace)
	given.service, given.service_length = pinnedText(&pins, o.Service)
	var handle exporterHandle
	detail := newError()
	err := failure(C.corelane_monitor_export_elasticsearch(h.c, &given, &handle.c, &detail), &detail)
	return handle, err
}

func (h monitorHandle) exportToOTLP(o *OTLPOptions, headers, attributes string) (exporterHandle, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	given := C.corelane_otlp_options{
		size:        C.uint32_t(unsafe.Sizeof(C.corelane_otlp_options{})),
		interval_ns: C.uint64_t(max(o.Interval, 0)), request_timeout_ns: C.uint64_t(max(o.RequestTimeout, 0)),
	}
	given.url, given.url_length = pinnedText(&pins, o.URL)
	given.headers, given.headers_length = pinnedText(&pins, headers)
	given.certificates, given.certificates_length = pinnedText(&pins, o.Certificates)
	given.service, given.service_length = pinnedText(&pins, o.Service)
	given.attributes, given.attributes_length = pinnedText(&pins, attributes)
	var handle exporterHandle
	detail := newError()
	err := failure(C.corelane_monitor_export_otlp(h.c, &given, &handle.c, &detail), &detail)
	return handle, err
}

func (h exporterHandle) figures() (ExporterFigures, error) {
	out := C.corelane_exporter_stats{size: C.uint32_t(unsafe.Sizeof(C.corelane_exporter_stats{}))}
	err := failure(C.corelane_exporter_figures(h.c, &out), nil)
	return ExporterFigures{
		Failing: out.failing != 0, Sent: uint64(out.sent), Repeated: uint64(out.repeated), Rejected: uint64(out.rejected),
		Dropped: uint64(out.dropped), Missed: uint64(out.missed), FailedRequests: uint64(out.failed_requests),
		Waiting: uint64(out.waiting), WaitingBytes: uint64(out.waiting_bytes),
	}, err
}

func (h exporterHandle) lastError() (string, error) {
	out := newText()
	if err := failure(C.corelane_exporter_error(h.c, &out), nil); err != nil {
		return "", err
	}
	return takeText(&out), nil
}

func (h exporterHandle) stop(limit time.Duration) error {
	return failure(C.corelane_exporter_stop(h.c, C.uint64_t(limit)), nil)
}

func (h exporterHandle) release() error { return failure(C.corelane_exporter_release(h.c), nil) }
