// The layout and both wakes of a routed port from Go: clients send each other checksummed messages of random sizes through
// the rings of their port, pushed and polled here without a cgo call per message. Both sides sleep: workers on a futex, this
// one on the port's eventfd; the rings fill all the time. At the end the router's own figures are compared with what was
// counted here.
//
// torture [RECORDS [RING_BYTES [WORKERS]]]
package main

/*
#include <stdlib.h>
#include "corelane.h"
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"corelane.test/ffi/ring"
)

const (
	clients      = 5
	longestSleep = 20
	// More is on the way than the rings take, less than a client's credit.
	mostOnTheWay = 800
	head         = `{"type":"offer","to":"client-?","number":"0123456789abcdef","sum":"0123456789abcdef","data":"`
	tail         = `"}`
)

var (
	toAt, numberAt, sumAt = strings.Index(head, "?"), strings.Index(head, "0123"), strings.LastIndex(head, "0123")
	numberMark, sumMark   = []byte(`"number":"`), []byte(`"sum":"`)
	dataMark              = []byte(`"data":"`)
)

// xorshift64*
type random uint64

func (r *random) next() uint64 {
	*r ^= *r >> 12
	*r ^= *r << 25
	*r ^= *r >> 27
	return uint64(*r) * 0x2545f4914f6cdd1d
}

func putHex(place []byte, value uint64) {
	for at := 15; at >= 0; at-- {
		place[at] = "0123456789abcdef"[value&15]
		value >>= 4
	}
}

func getHex(place []byte) (value uint64) {
	for _, digit := range place[:16] {
		if digit <= '9' {
			value = value<<4 | uint64(digit-'0')
		} else {
			value = value<<4 | uint64(digit-'a'+10)
		}
	}
	return value
}

func sumOf(number uint64, data []byte) uint64 {
	sum := number*0xd1342543de82ef95 + uint64(len(data))
	for ; len(data) >= 8; data = data[8:] {
		sum = (sum ^ binary.NativeEndian.Uint64(data)) * 0x100000001b3
	}
	for _, one := range data {
		sum = (sum ^ uint64(one)) * 0x100000001b3
	}
	return sum
}

// Writes a message with so many bytes of data; every byte of it follows from its number.
func fill(place []byte, length int, to int, number, seed uint64) {
	copy(place, head)
	data := place[len(head) : len(head)+length]
	for at := range data {
		data[at] = 'a' + byte((seed>>59)%26)
		seed = seed*0x9e3779b97f4a7c15 + 1
	}
	copy(place[len(head)+length:], tail)
	place[toAt] = '0' + byte(to)
	putHex(place[numberAt:], number)
	putHex(place[sumAt:], sumOf(number, data))
}

// Sums what lies there, not what should.
func check(text []byte) (number uint64, whole bool) {
	n, s, d := bytes.Index(text, numberMark), bytes.Index(text, sumMark), bytes.Index(text, dataMark)
	if n < 0 || s < 0 || d < 0 {
		return 0, false
	}
	data := text[d+len(dataMark):]
	end := bytes.IndexByte(data, '"')
	number = getHex(text[n+len(numberMark):])
	return number, end >= 0 && getHex(text[s+len(sumMark):]) == sumOf(number, data[:end])
}

func memory(from *C.corelane_ring) ring.Memory {
	return ring.Memory{
		Base: unsafe.Pointer(from.base), Capacity: uint64(from.capacity), Data: uint32(from.data),
		Tail: uint32(from.tail), Pushed: uint32(from.pushed), RefusedFull: uint32(from.refused_full),
		Head: uint32(from.head), Popped: uint32(from.popped), NeedSpace: uint32(from.need_space),
		ClosedWord: uint32(from.closed), CorruptWord: uint32(from.corrupt),
	}
}

func word(at *C.uint64_t) *uint64 { return (*uint64)(unsafe.Pointer(at)) }

// Takes over a port.
func open(handle C.corelane_port) *ring.Port {
	need(C.corelane_port_inline(handle) == C.CORELANE_OK, "inline")
	port := &ring.Port{}
	for worker, workers := 0, 1; worker < workers; worker++ {
		layout := new(C.corelane_layout)
		layout.size = C.uint32_t(unsafe.Sizeof(*layout))
		need(C.corelane_port_layout(handle, C.uint32_t(worker), layout) == C.CORELANE_OK, "layout")
		wake := ring.Wake{Word: (*uint32)(unsafe.Pointer(layout.worker_wake)), FD: -1}
		to, toErr := ring.NewProducer(memory(&layout.ingress), wake)
		from, fromErr := ring.NewConsumer(memory(&layout.egress), wake)
		need(toErr == nil && fromErr == nil, "the layout")
		port.Lanes = append(port.Lanes, &ring.Lane{To: to, From: from})
		workers, port.StampSource = int(layout.workers), uint64(layout.stamp_source)
		slots, counts := &layout.slots, &layout.counts
		port.Own = ring.Wake{Word: (*uint32)(unsafe.Pointer(layout.port_wake)), FD: int32(layout.port_fd)}
		port.Slots = ring.Slots{
			Base: unsafe.Pointer(slots.base), Count: uint32(slots.count), Stride: uint32(slots.stride),
			Place: uint32(slots.place), Phase: uint32(slots.phase), Token: uint32(slots.token),
			Submitted: uint32(slots.submitted), Handed: uint32(slots.handed), Credit: uint32(slots.credit),
			Track: uint32(slots.track), SampledAt: uint32(slots.sampled_at),
		}
		port.Counts = ring.Counts{
			Submitted: word(counts.submitted), Consumed: word(counts.consumed), Polls: word(counts.polls),
			UndeliverableClosed: word(counts.undeliverable_closed),
			OutstandingMessages: word(counts.outstanding_messages_maximum),
			OutstandingBytes:    word(counts.outstanding_bytes_maximum),
			Refused:             unsafe.Slice(word(counts.refused), int(counts.refused_count)),
		}
		port.Number, port.MaxMessage = uint32(layout.port), uint32(layout.max_message)
		port.Draining = (*byte)(unsafe.Pointer(layout.draining))
	}
	port.ClientClosed = func(client uint64) {
		need(C.corelane_client_closed(handle, C.corelane_client{value: C.uint64_t(client)}) == C.CORELANE_OK, "closed")
	}
	port.PayloadTake = func(number uint64) []byte {
		var bytes *C.uint8_t
		var length C.size_t
		if C.corelane_payload_take(handle, C.uint64_t(number), &bytes, &length) != C.CORELANE_OK {
			return nil
		}
		return unsafe.Slice((*byte)(unsafe.Pointer(bytes)), int(length))
	}
	port.PayloadRelease = func() { need(C.corelane_payload_release(handle) == C.CORELANE_OK, "release of payloads") }
	need(port.Open() == nil, "open")
	return port
}

func need(condition bool, what string) {
	if !condition {
		fmt.Fprintln(os.Stderr, what, "does not hold")
		os.Exit(1)
	}
}

func dump(port *ring.Port, why string) {
	fmt.Fprintln(os.Stderr, why, "port word", atomic.LoadUint32(port.Own.Word))
	for worker, lane := range port.Lanes {
		for name, m := range map[string]*ring.Memory{"to": &lane.To.Memory, "from": &lane.From.Memory} {
			fmt.Fprintf(os.Stderr, "  %s worker %d: tail %d head %d need_space %d closed %d corrupt %d\n", name, worker,
				m.Word(m.Tail), m.Word(m.Head), m.Flag(m.NeedSpace), m.Flag(m.ClosedWord), m.Flag(m.CorruptWord))
		}
	}
	os.Exit(1)
}

// The sum of a family's samples whose line has the label, from the router's own text.
func figure(router C.corelane_router, family, label string) (total uint64) {
	const room = 1 << 20
	text := C.malloc(room)
	defer C.free(text)
	length := C.corelane_prometheus(router, (*C.char)(text), room)
	need(length > 0, "the metrics")
	for _, line := range strings.Split(C.GoStringN((*C.char)(text), C.int(length)), "\n") {
		rest, found := strings.CutPrefix(line, family)
		if found && (strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, " ")) && strings.Contains(line, label) {
			value, _ := strconv.ParseUint(line[strings.LastIndexByte(line, ' ')+1:], 10, 64)
			total += value
		}
	}
	return total
}

var spun uint64

// Lets the other side's publications fall between this side's steps: without it both take turns in lockstep.
func jitter(value uint64) {
	if value&3 == 0 {
		for turns := (value >> 8) & 0x7ff; turns > 0; turns-- {
			atomic.AddUint64(&spun, 1)
		}
	}
}

type totals struct{ full, sleeps uint64 }

// Sends and receives everything, asleep when neither is possible.
func run(port *ring.Port, records uint64, ids [clients]uint64, acknowledge func(at int, messages, bytes uint32)) (t totals) {
	var sent, received uint64
	var sentBy, expected [clients]uint64
	var messages, size [clients]uint32
	var events []ring.Event
	state := random(0x9e3779b97f4a7c15)
	for received < records {
		stalled, value := false, state.next()
		for burst := 1 + (value>>40)%64; sent < records && sent-received < mostOnTheWay && burst > 0; burst-- {
			data, from := int((value>>8)%120), int(value>>60)%clients
			if value&0x1f == 0 {
				data = int((value >> 8) % 800)
			}
			number := sentBy[from]*clients + uint64(from)
			err := port.Submit(ids[from], len(head)+len(tail)+data, sentBy[from], ring.Stamp(port.StampSource), func(place []byte) {
				fill(place, data, (from+1)%clients, number, value)
			})
			if err == ring.ErrFull {
				stalled = true
				t.full++
				break
			}
			need(err == nil, "a submission")
			sentBy[from]++
			sent++
			value = state.next()
		}
		port.Publish()
		var err error
		events, err = port.Poll(events[:0], 64)
		need(err == nil, "a poll")
		for _, event := range events {
			to := int(event.Token)
			from := (to + clients - 1) % clients
			number, whole := check(event.Bytes)
			if event.Kind != ring.Message || event.Client != ids[to] || event.Sender != ids[from] || !whole ||
				event.Correlation != expected[from] || number != expected[from]*clients+uint64(from) {
				dump(port, fmt.Sprintf("event %d for %d, number %d (whole: %v), expected %d of %d: not as it was sent", event.Kind, to,
					number, whole, expected[from], from))
			}
			expected[from]++
			messages[to]++
			size[to] += uint32(len(event.Bytes))
			received++
		}
		port.Release()
		for at := range messages {
			if messages[at] > 100 {
				acknowledge(at, messages[at], size[at])
				messages[at], size[at] = 0, 0
			}
		}
		if len(events) > 0 || !(stalled || sent == records || sent-received >= mostOnTheWay) {
			continue
		}
		jitter(value)
		if port.Arm() {
			jitter(value >> 2)
			t.sleeps++
			start := time.Now()
			port.Own.Sleep(longestSleep)
			if time.Since(start) >= longestSleep*time.Second {
				dump(port, "no wake came")
			}
		}
	}
	return t
}

func main() {
	argument := func(at int, otherwise string) string {
		if len(os.Args) > at {
			return os.Args[at]
		}
		return otherwise
	}
	records, err := strconv.ParseUint(argument(1, "10000000"), 10, 64)
	need(err == nil, "a number of records")
	time.AfterFunc(8*time.Minute, func() {
		fmt.Fprintln(os.Stderr, "not done after eight minutes")
		os.Exit(1)
	})
	config := "workers=" + argument(3, "1") + "\npin=off\nidle=park\nmax_ports=1\nmax_clients=10\nmax_message=1000\nring_bytes=" + argument(2, "8192")
	text := C.CString(config)
	var router C.corelane_router
	var handle C.corelane_port
	need(C.corelane_start(text, C.size_t(len(config)), &router, nil) == C.CORELANE_OK, "start")
	C.free(unsafe.Pointer(text))
	need(C.corelane_port_open(router, &handle, nil) == C.CORELANE_OK, "a port")
	port := open(handle)
	protocol := C.CString("generic")
	var ids [clients]uint64
	for at := range ids {
		name := C.CString(fmt.Sprintf("client-%d", at))
		var client C.corelane_client
		port.Publish()
		need(C.corelane_connect(handle, name, 8, protocol, 7, nil, 0, C.uint64_t(at), &client, nil) == C.CORELANE_OK, "connect")
		need(port.Resume(0) == nil, "the rings after connect")
		C.free(unsafe.Pointer(name))
		ids[at] = uint64(client.value)
	}
	start := time.Now()
	total := run(port, records, ids, func(at int, messages, bytes uint32) {
		client := C.corelane_client{value: C.uint64_t(ids[at])}
		need(C.corelane_acknowledge(handle, client, C.uint32_t(messages), C.uint32_t(bytes)) == C.CORELANE_OK, "acknowledge")
	})
	took := time.Since(start)

	for _, id := range ids {
		port.Publish()
		waiting := C.corelane_disconnect(handle, C.corelane_client{value: C.uint64_t(id)})
		need(waiting >= 0 && port.Resume(int(waiting)) == nil, "disconnect")
		need(port.Submit(id, 2, 0, 0, nil) == ring.ErrStale, "a leaving client's message is refused")
	}
	for gone := 0; gone < clients; {
		events, err := port.Poll(nil, 2)
		need(err == nil, "a poll")
		for _, event := range events {
			need(event.Kind == ring.Closed && event.Client == ids[event.Token], "a last event")
			gone++
		}
		if len(events) == 0 && port.Arm() {
			port.Own.Sleep(longestSleep)
		}
	}
	port.Release()
	parks := figure(router, "corelane_worker_parks_total", "")
	for what, is := range map[string]bool{
		"submitted":  figure(router, "corelane_messages_submitted_total", "") == records+total.full+clients,
		"refused":    figure(router, "corelane_messages_refused_total", "ring_full") == total.full,
		"stale":      figure(router, "corelane_messages_refused_total", "stale_client") == clients,
		"delivered":  figure(router, "corelane_messages_delivered_total", "offer") == records,
		"deliveries": figure(router, "corelane_deliveries_total", "") == records+clients,
		"in flight":  figure(router, "corelane_messages_in_flight", "") == 0,
		"queued":     figure(router, "corelane_deliveries_queued", "") == 0,
		"sleeping":   records < 100_000 || (total.sleeps > 0 && parks > 0 && total.full > 0),
	} {
		need(is, what)
	}
	need(C.corelane_stop(router, 5_000_000_000) == C.CORELANE_OK, "stop")
	_, err = port.Poll(nil, 2)
	need(err == ring.ErrClosed, "a poll after the stop")
	need(C.corelane_port_release(handle) == C.CORELANE_OK && C.corelane_router_release(router) == C.CORELANE_OK, "release")
	fmt.Printf("go torture: %d records each way, rings of %s, full %d, sleeps here %d, of the workers %d, %.1f s\n", records,
		argument(2, "8192"), total.full, total.sleeps, parks, took.Seconds())
}
