// Tests the layout and both directions of waking of a routed port from Go. Clients send each other checksummed
// messages of
// random sizes through the rings of their port, which are pushed and polled here without a cgo call per message. Both
// sides
// sleep: workers on a futex, this side on the port's eventfd. The rings fill all the time. At the end the router's
// figures
// are compared with the counts of this program.
//
// torture [RECORDS [RING_BYTES [WORKERS]]]
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"corelane.test/ffi/host"
	"corelane.test/ffi/ring"
)

const (
	clients      = 5
	longestSleep = 20
	// More than the rings hold, less than a client's credit.
	mostOnTheWay = 800
	head         = `{"type":"offer","to":"client-?","number":"0123456789abcdef","sum":"0123456789abcdef","data":"`
	tail         = `"}`
)

var (
	toAt, numberAt, sumAt = strings.Index(head, "?"), strings.Index(head, "0123"), strings.LastIndex(head, "0123")
	numberMark, sumMark   = []byte(`"number":"`), []byte(`"sum":"`)
	dataMark              = []byte(`"data":"`)
)

// random is a xorshift64* generator.
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

// fill writes a message with this many bytes of data. All bytes are determined by number and seed.
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

// check computes the checksum over the data that arrived.
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

func dump(port *host.Port, why string) {
	fmt.Fprintln(os.Stderr, why, "port word", atomic.LoadUint32(port.Own.Word))
	for worker, lane := range port.Lanes {
		for name, m := range map[string]*ring.Memory{"to": &lane.To.Memory, "from": &lane.From.Memory} {
			fmt.Fprintf(os.Stderr, "  %s worker %d: tail %d head %d need_space %d closed %d corrupt %d\n", name, worker,
				m.Word(m.Tail), m.Word(m.Head), m.Flag(m.NeedSpace), m.Flag(m.ClosedWord), m.Flag(m.CorruptWord))
		}
	}
	os.Exit(1)
}

var spun uint64

// jitter varies this side's timing, so that the other side's publications fall between this side's steps. Without it
// the two sides run in lockstep.
func jitter(value uint64) {
	if value&3 == 0 {
		for turns := (value >> 8) & 0x7ff; turns > 0; turns-- {
			atomic.AddUint64(&spun, 1)
		}
	}
}

type totals struct{ full, sleeps uint64 }

// run sends and receives everything, and sleeps when neither is possible.
func run(port *host.Port, records uint64, ids [clients]uint64, acknowledge func(at int, messages, bytes uint32)) (t totals) {
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
			host.Need(err == nil, "a submission")
			sentBy[from]++
			sent++
			value = state.next()
		}
		port.Publish()
		var err error
		events, err = port.Poll(events[:0], 64)
		host.Need(err == nil, "a poll")
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
	host.Need(err == nil, "a number of records")
	time.AfterFunc(8*time.Minute, func() {
		fmt.Fprintln(os.Stderr, "not done after eight minutes")
		os.Exit(1)
	})
	config := "workers=" + argument(3, "1") + "\npin=off\nidle=park\nmax_ports=1\nmax_clients=10\nmax_message=1000\nring_bytes=" + argument(2, "8192")
	router := host.Start(config)
	port := router.Port()
	port.Open()
	var ids [clients]uint64
	for at := range ids {
		client, status := port.Connect(fmt.Sprintf("client-%d", at), uint64(at))
		host.Need(status == host.OK, "connect")
		ids[at] = client
	}
	start := time.Now()
	total := run(port, records, ids, func(at int, messages, bytes uint32) {
		port.Acknowledge(ids[at], messages, bytes)
	})
	took := time.Since(start)

	for _, id := range ids {
		host.Need(port.Disconnect(id) == 0, "disconnect")
		host.Need(port.Submit(id, 2, 0, 0, nil) == ring.ErrStale, "a leaving client's message is refused")
	}
	for gone := 0; gone < clients; {
		events, err := port.Poll(nil, 2)
		host.Need(err == nil, "a poll")
		for _, event := range events {
			host.Need(event.Kind == ring.Closed && event.Client == ids[event.Token], "a last event")
			gone++
		}
		if len(events) == 0 && port.Arm() {
			port.Own.Sleep(longestSleep)
		}
	}
	port.Release()
	parks := router.Figure("corelane_worker_parks_total", "")
	for what, is := range map[string]bool{
		"submitted":  router.Figure("corelane_messages_submitted_total", "") == records+total.full+clients,
		"refused":    router.Figure("corelane_messages_refused_total", "ring_full") == total.full,
		"stale":      router.Figure("corelane_messages_refused_total", "stale_client") == clients,
		"delivered":  router.Figure("corelane_messages_delivered_total", "offer") == records,
		"deliveries": router.Figure("corelane_deliveries_total", "") == records+clients,
		"in flight":  router.Figure("corelane_messages_in_flight", "") == 0,
		"queued":     router.Figure("corelane_deliveries_queued", "") == 0,
		"sleeping":   records < 100_000 || (total.sleeps > 0 && parks > 0 && total.full > 0),
	} {
		host.Need(is, what)
	}
	host.Need(router.Stop() == host.OK, "stop")
	_, err = port.Poll(nil, 2)
	host.Need(err == ring.ErrClosed, "a poll after the stop")
	host.Need(port.Give() == host.OK && router.Release() == host.OK, "release")
	fmt.Printf("go torture: %d records each way, rings of %s, full %d, sleeps here %d, of the workers %d, %.1f s\n", records,
		argument(2, "8192"), total.full, total.sleeps, parks, took.Seconds())
}
