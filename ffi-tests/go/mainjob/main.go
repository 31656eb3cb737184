// A complete Go host through cgo: two PeerJS clients on two ports exchange an offer and an answer through the router,
// and the Prometheus text is printed. Then the failures of each call are tested.
package main

/*
#include <stdlib.h>
#include "corelane.h"
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

var failed int

func check(condition bool, what string) {
	if !condition {
		_, file, line, _ := runtime.Caller(1)
		fmt.Fprintf(os.Stderr, "%s:%d: %s does not hold\n", file[strings.LastIndexByte(file, '/')+1:], line, what)
		failed++
	}
}

func is(status C.int32_t, expected C.int32_t, what string) {
	check(status == expected, fmt.Sprintf("%s: %d, expected %d", what, status, expected))
}

// text returns a text as pointer and length. The memory is Go's and valid for one call.
func text(value string) (*C.char, C.size_t) {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(value))), C.size_t(len(value))
}

func data(value string) (*C.uint8_t, C.size_t) {
	return (*C.uint8_t)(unsafe.Pointer(unsafe.StringData(value))), C.size_t(len(value))
}

func newError() *C.corelane_error {
	failure := new(C.corelane_error)
	failure.size = C.uint32_t(unsafe.Sizeof(*failure))
	return failure
}

func message(failure *C.corelane_error) string { return C.GoString(&failure.message[0]) }

func start(config string) (router C.corelane_router, status C.int32_t, says string) {
	failure := newError()
	start, length := text(config)
	status = C.corelane_router_start(start, length, &router, failure)
	return router, status, message(failure)
}

func connect(port C.corelane_port, name, protocol string, token uint64) (C.corelane_client, C.int32_t, string) {
	var client C.corelane_client
	failure := newError()
	// The struct has pointers, so it stands in C's memory, as its texts do.
	options := (*C.corelane_connect_options)(C.calloc(1, C.sizeof_corelane_connect_options))
	defer C.free(unsafe.Pointer(options))
	options.size, options.token = C.sizeof_corelane_connect_options, C.uint64_t(token)
	for _, one := range []struct {
		place  **C.char
		length *C.size_t
		value  string
	}{
		{&options.name, &options.name_length, name}, {&options.protocol, &options.protocol_length, protocol},
		{&options.application, &options.application_length, "calls"},
	} {
		*one.place, *one.length = C.CString(one.value), C.CORELANE_NUL_TERMINATED
		defer C.free(unsafe.Pointer(*one.place))
	}
	status := C.corelane_port_connect(port, options, &client, failure)
	return client, status, message(failure)
}

type event struct {
	token       uint64
	sender      C.corelane_client
	client      C.corelane_client
	correlation uint64
	payload     string
}

// await polls until an event of this kind comes.
func await(port C.corelane_port, kind C.uint32_t) event {
	var events [8]C.corelane_event
	for turn := 0; turn < 1000; turn++ {
		events[0].size = C.uint32_t(unsafe.Sizeof(events[0]))
		count := C.corelane_port_poll(port, &events[0], C.size_t(len(events)))
		if count < 0 {
			break
		}
		for _, one := range events[:count] {
			if one.kind == kind {
				// Copy the payload: the view is valid only until the next poll.
				payload := string(unsafe.Slice((*byte)(one.bytes), int(one.length)))
				return event{uint64(one.token), one.sender, one.client, uint64(one.correlation), payload}
			}
		}
		C.corelane_port_wait(port, C.uint64_t(time.Second))
	}
	check(false, "the event came")
	os.Exit(1)
	return event{}
}

func exchange(from C.corelane_port, sender C.corelane_client, to C.corelane_port, sent, expected string, token uint64) {
	bytes, length := data(sent)
	is(C.corelane_port_submit(from, sender, bytes, length, 42), C.CORELANE_OK, "submit")
	is(C.corelane_port_publish(from), C.CORELANE_OK, "publish")
	got := await(to, C.CORELANE_EVENT_MESSAGE)
	check(got.payload == expected, "payload "+got.payload)
	check(got.token == token && got.sender == sender && got.correlation == 42, "what comes with it")
	is(C.corelane_port_acknowledge(to, got.client, 1, C.uint32_t(len(got.payload))), C.CORELANE_OK, "acknowledge")
	is(C.corelane_port_release_views(to), C.CORELANE_OK, "release")
}

func failures(router C.corelane_router, port C.corelane_port, client C.corelane_client) {
	for _, wrong := range []struct {
		config string
		status C.int32_t
		says   string
	}{
		{"wrokers=1", C.CORELANE_CONFIG_KEY, "workers"},
		{"workers=100", C.CORELANE_CONFIG_VALUE, "allowed: 0 to 64 threads"},
		{"idle=sometimes", C.CORELANE_CONFIG_VALUE, "spin, backoff, park"},
		{"workers=\xff", C.CORELANE_INVALID, "UTF-8"},
	} {
		_, status, says := start(wrong.config)
		check(status == wrong.status && strings.Contains(says, wrong.says), fmt.Sprintf("%q: %d %s", wrong.config, status, says))
	}
	stale, none := C.corelane_client{value: client.value + 1<<32}, C.corelane_port{}
	bytes, length := data("{}")
	is(C.corelane_router_start(nil, 0, nil, nil), C.CORELANE_NULL, "start without an output")
	is(C.corelane_port_open(C.corelane_router{value: 1 << 40}, nil, &none, nil), C.CORELANE_STALE, "a forged router")
	is(C.corelane_port_submit(port, stale, bytes, length, 0), C.CORELANE_STALE, "a stale client")
	is(C.corelane_port_submit(port, client, nil, 3, 0), C.CORELANE_NULL, "no bytes")
	is(C.corelane_port_submit(none, client, bytes, length, 0), C.CORELANE_STALE, "no port")
	is(C.corelane_port_poll(port, nil, 1), C.CORELANE_NULL, "no events")
	is(C.corelane_port_disconnect(port, stale), C.CORELANE_STALE, "a stale disconnect")
	is(C.corelane_port_release(none), C.CORELANE_STALE, "release of none")
	_, status, _ := connect(port, "\xc3", "peerjs", 0)
	is(status, C.CORELANE_INVALID, "a name that is not UTF-8")
	_, status, _ = connect(port, "bob", "peerjs", 0)
	is(status, C.CORELANE_EXISTS, "a taken name")
	_, status, says := connect(port, "carol", "smtp", 0)
	check(status == C.CORELANE_NOT_FOUND && strings.Contains(says, "smtp"), "an unknown protocol: "+says)
	is(C.corelane_router_prometheus(router, nil), C.CORELANE_NULL, "no text")
	check(C.GoString(C.corelane_status_text(C.CORELANE_BUSY)) != "", "a status has a text")
}

func main() {
	router, status, says := start("workers=1\npin=off\n")
	if status != C.CORELANE_OK {
		fmt.Fprintln(os.Stderr, "start:", says)
		os.Exit(1)
	}
	var ports [2]C.corelane_port
	for at := range ports {
		is(C.corelane_port_open(router, nil, &ports[at], nil), C.CORELANE_OK, "port")
	}
	alice, status, says := connect(ports[0], "alice", "peerjs", 1001)
	is(status, C.CORELANE_OK, "alice "+says)
	bob, status, says := connect(ports[1], "bob", "peerjs", 1002)
	is(status, C.CORELANE_OK, "bob "+says)
	exchange(ports[0], alice, ports[1], `{"type":"OFFER","src":"mallory","dst":"bob","payload":{"sdp":"v=0"}}`,
		`{"src":"alice","type":"OFFER","dst":"bob","payload":{"sdp":"v=0"}}`, 1002)
	exchange(ports[1], bob, ports[0], `{"dst":"alice","payload":{"sdp":"v=1"},"type":"ANSWER"}`,
		`{"src":"bob","dst":"alice","payload":{"sdp":"v=1"},"type":"ANSWER"}`, 1001)
	figures := new(C.corelane_text)
	figures.size = C.uint32_t(unsafe.Sizeof(*figures))
	is(C.corelane_router_prometheus(router, figures), C.CORELANE_OK, "the figures")
	metrics := C.GoStringN(figures.data, C.int(figures.length))
	is(C.corelane_text_free(figures), C.CORELANE_OK, "free")
	check(figures.data == nil && len(metrics) > 0, "a text")
	for _, line := range []string{
		"corelane_messages_delivered_total{message_type=\"OFFER\",protocol=\"peerjs\"} 1\n", "corelane_messages_in_flight 0\n",
		"corelane_connections_open 2\n",
	} {
		check(strings.Contains(metrics, line), line)
	}
	fmt.Print(metrics)
	failures(router, ports[0], alice)
	is(C.corelane_port_disconnect(ports[1], bob), C.CORELANE_OK, "disconnect")
	check(await(ports[1], C.CORELANE_EVENT_CLOSED).token == 1002, "bob is closed")
	is(C.corelane_router_stop(router, C.uint64_t(10*time.Second)), C.CORELANE_OK, "stop")
	is(C.corelane_router_release(router), C.CORELANE_OK, "release")
	is(C.corelane_router_release(router), C.CORELANE_STALE, "a second release")
	for _, port := range ports {
		is(C.corelane_port_release(port), C.CORELANE_OK, "port release")
		is(C.corelane_port_release(port), C.CORELANE_STALE, "a second port release")
	}
	if failed > 0 {
		os.Exit(1)
	}
}
