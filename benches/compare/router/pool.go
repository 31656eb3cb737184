// The pool that a host in Go would otherwise write: goroutines behind channels. A worker does what corelane's does: it
// parses with encoding/json, looks up the recipient or the room under a read lock, rewrites the message, and records it
// in atomic counters and histograms of the same bounds, which costs less than Prometheus's client for Go.
//
// pool WORKERS THREADS FAN; 0 means one worker per core, and Go's own number of threads. Commands come on stdin:
// "name NAME" and "message JSON" while it is set up, then "exchange COUNT" and "outcome".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// As in side.rs.
const (
	clients         = 64
	batch           = 32
	onTheirWay      = 1024
	deliveries      = 4096
	bytesOnTheirWay = 384 << 10
)

type job struct {
	from    int
	stamp   time.Time
	message []byte
}

type delivery struct {
	to      int
	message []byte
}

type envelope struct {
	Type    string          `json:"type"`
	Dst     string          `json:"dst"`
	Room    string          `json:"room"`
	Payload json.RawMessage `json:"payload"`
}

type histogram struct {
	buckets [65]atomic.Uint64
	sum     atomic.Uint64
}

func (h *histogram) observe(d time.Duration) {
	h.buckets[bits.Len64(uint64(d))].Add(1)
	h.sum.Add(uint64(d))
}

type ofType struct {
	received, ok, bytes atomic.Uint64
	service, queueWait  histogram
}

type ofGroup struct {
	ok      atomic.Uint64
	service histogram
}

type pool struct {
	lock   sync.RWMutex
	byName map[string]int
	rooms  map[string][]int
	names  []string

	types                                  map[string]*ofType // complete from the start, so read without a lock
	protocol, application                  ofGroup
	submitted, emitted, consumed, bytesOut atomic.Uint64

	jobs chan job
	done chan delivery
}

// appendString writes the plain strings of the benchmark; none needs an escape.
func appendString(out []byte, key, value string) []byte {
	out = append(out, `,"`...)
	out = append(out, key...)
	out = append(out, `":"`...)
	out = append(out, value...)
	return append(out, '"')
}

func (p *pool) handle(j job, started time.Time) time.Time {
	var e envelope
	if err := json.Unmarshal(j.message, &e); err != nil {
		panic(err)
	}
	sender := p.names[j.from]
	out := make([]byte, 0, len(j.message)+len(sender)+16)
	out = append(out, `{"type":"`...)
	out = append(out, e.Type...)
	out = append(out, '"')
	if e.Room == "" {
		p.lock.RLock()
		to, known := p.byName[e.Dst]
		p.lock.RUnlock()
		if !known {
			panic("no recipient " + e.Dst)
		}
		out = appendString(out, "src", sender)
		out = appendString(out, "dst", e.Dst)
		out = append(append(append(out, `,"payload":`...), e.Payload...), '}')
		p.done <- delivery{to, out}
		p.emitted.Add(1)
	} else {
		p.lock.RLock()
		members := p.rooms[e.Room]
		p.lock.RUnlock()
		out = appendString(out, "from", sender)
		out = appendString(out, "room", e.Room)
		out = append(append(append(out, `,"payload":`...), e.Payload...), '}')
		for _, to := range members {
			if to != j.from {
				p.done <- delivery{to, out}
			}
		}
		p.emitted.Add(uint64(len(members) - 1))
	}
	ended := time.Now()
	wait, service := started.Sub(j.stamp), ended.Sub(started)
	t := p.types[e.Type]
	t.received.Add(1)
	t.ok.Add(1)
	t.bytes.Add(uint64(len(j.message)))
	t.service.observe(service)
	t.queueWait.observe(max(wait, 0))
	for _, group := range []*ofGroup{&p.protocol, &p.application} {
		group.ok.Add(1)
		group.service.observe(service)
	}
	return ended
}

func (p *pool) work() {
	for first := range p.jobs {
		now := p.handle(first, time.Now())
		for waiting := true; waiting; {
			select {
			case next := <-p.jobs:
				now = p.handle(next, now)
			default:
				waiting = false
			}
		}
	}
}

func (p *pool) send(from int, message []byte) bool {
	p.submitted.Add(1)
	j := job{from % len(p.names), time.Now(), append([]byte(nil), message...)}
	select {
	case p.jobs <- j:
		return true
	default:
		return false
	}
}

func (p *pool) consume(d delivery) {
	p.consumed.Add(1)
	p.bytesOut.Add(uint64(len(d.message)))
}

func (p *pool) exchange(messages [][]byte, count, fan int) float64 {
	longest := 1
	for _, message := range messages {
		longest = max(longest, len(message))
	}
	limit := max(1, min(onTheirWay, bytesOnTheirWay/longest, deliveries/fan))
	began := time.Now()
	sent, received := 0, 0
	for received < count*fan {
		room := limit - (sent - received/fan)
		for i := min(batch, room, count-sent); i > 0; i-- {
			if !p.send(sent%clients, messages[sent%len(messages)]) {
				break
			}
			sent++
		}
		before := received
		for waiting := true; waiting; {
			select {
			case d := <-p.done:
				p.consume(d)
				received++
			default:
				waiting = false
			}
		}
		if received == before {
			p.consume(<-p.done) // The host has nothing else to do: it waits as Go does.
			received++
		}
	}
	return float64(time.Since(began).Nanoseconds()) / float64(count*fan)
}

func main() {
	numbers := make([]int, 3)
	for i := range numbers {
		number, err := strconv.Atoi(os.Args[i+1])
		if err != nil {
			panic(err)
		}
		numbers[i] = number
	}
	workers, threads, fan := numbers[0], numbers[1], numbers[2]
	if workers == 0 {
		workers = runtime.NumCPU()
	}
	if threads != 0 {
		runtime.GOMAXPROCS(threads)
	}
	p := &pool{
		byName: map[string]int{}, rooms: map[string][]int{}, types: map[string]*ofType{},
		jobs: make(chan job, deliveries), done: make(chan delivery, deliveries),
	}
	for _, name := range []string{"OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE", "HEARTBEAT", "candidate"} {
		p.types[name] = &ofType{}
	}
	var messages [][]byte
	started := false
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		command, rest, _ := strings.Cut(lines.Text(), " ")
		if !started && (command == "exchange" || command == "outcome") {
			started = true
			for range workers {
				go p.work()
			}
		}
		switch command {
		case "name":
			p.rooms["room"] = append(p.rooms["room"], len(p.names))
			p.byName[rest] = len(p.names)
			p.names = append(p.names, rest)
		case "message":
			messages = append(messages, []byte(rest))
		case "exchange":
			count, err := strconv.Atoi(rest)
			if err != nil {
				panic(err)
			}
			fmt.Println(p.exchange(messages, count, fan))
		case "outcome":
			fmt.Println(len(messages) * fan)
			for place, message := range messages {
				if !p.send(place%clients, message) {
					panic("no room")
				}
				for range fan {
					d := <-p.done
					fmt.Printf("%d %s\n", d.to, d.message)
				}
			}
		}
	}
}
