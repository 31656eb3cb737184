package main

// The frames that wait for one socket, as the bytes to write: several frames need one write, and a delivery needs no
// allocation of its own.

import "encoding/binary"

const (
	// keptBytes is the capacity that an empty queue keeps.
	keptBytes = 16 << 10
	// wholeMessage is set in the first byte of a frame that is a whole message.
	wholeMessage = 0x80
)

// The kinds of frames.
const (
	textFrame  = 1
	closeFrame = 8
	pingFrame  = 9
	pongFrame  = 10
)

// credit is what a delivery takes from a client's credit, and gives back once it is written.
type credit struct{ messages, bytes uint32 }

func (c *credit) add(other credit) {
	c.messages += other.messages
	c.bytes += other.bytes
}

type frame struct {
	// size is with the header; left is what the kernel has not taken.
	size, left uint32
	header     uint8
	kind       uint8
	credit     credit
}

// queue has the frames of which the kernel has not taken all bytes.
type queue struct {
	// bytes[start:] are not taken.
	bytes []byte
	start int
	// frames[first:] belong to them.
	frames []frame
	first  int
}

func (q *queue) isEmpty() bool { return q.first == len(q.frames) }

func (q *queue) count() int { return len(q.frames) - q.first }

func (q *queue) pending() []byte { return q.bytes[q.start:] }

// push adds a frame with its header.
func (q *queue) push(kind byte, payload []byte, credit credit) {
	q.compact(len(payload) + 10)
	before := len(q.bytes)
	switch length := len(payload); {
	case length < 126:
		q.bytes = append(q.bytes, wholeMessage|kind, byte(length))
	case length < 1<<16:
		q.bytes = append(q.bytes, wholeMessage|kind, 126, byte(length>>8), byte(length))
	default:
		q.bytes = append(q.bytes, wholeMessage|kind, 127)
		q.bytes = binary.BigEndian.AppendUint64(q.bytes, uint64(length))
	}
	header := len(q.bytes) - before
	q.bytes = append(q.bytes, payload...)
	size := uint32(len(q.bytes) - before)
	q.frames = append(q.frames, frame{size: size, left: size, header: uint8(header), kind: kind, credit: credit})
}

// pushRaw adds bytes that are sent as they are.
func (q *queue) pushRaw(raw []byte) {
	q.bytes = append(q.bytes, raw...)
	q.frames = append(q.frames, frame{size: uint32(len(raw)), left: uint32(len(raw))})
}

// compact makes room at the end by dropping what is taken, when that is the larger part.
func (q *queue) compact(more int) {
	if q.start >= len(q.bytes)/2 && len(q.bytes)+more > cap(q.bytes) {
		q.bytes = q.bytes[:copy(q.bytes, q.bytes[q.start:])]
		q.start = 0
	}
	if q.first >= len(q.frames)/2 && len(q.frames) == cap(q.frames) {
		q.frames = q.frames[:copy(q.frames, q.frames[q.first:])]
		q.first = 0
	}
}

// taken removes bytes that the kernel has taken. It returns the credit of the frames that are whole.
func (q *queue) taken(bytes int) credit {
	var whole credit
	q.start += bytes
	for bytes > 0 {
		frame := &q.frames[q.first]
		part := min(int(frame.left), bytes)
		frame.left -= uint32(part)
		bytes -= part
		if frame.left == 0 {
			whole.add(frame.credit)
			q.first++
		}
	}
	if q.isEmpty() {
		q.start, q.first, q.bytes, q.frames = 0, 0, q.bytes[:0], q.frames[:0]
		if cap(q.bytes) > keptBytes {
			q.bytes, q.frames = nil, nil
		}
	}
	return whole
}

// rest removes the texts of which the kernel has taken no byte. What remains is the end of a frame that it has begun.
func (q *queue) rest() [][]byte {
	var texts [][]byte
	var kept queue
	at := q.start
	for _, frame := range q.frames[q.first:] {
		bytes := q.bytes[at : at+int(frame.left)]
		at += int(frame.left)
		switch {
		case frame.left < frame.size || frame.header == 0:
			kept.bytes = append(kept.bytes, bytes...)
			kept.frames = append(kept.frames, frame)
		case frame.kind == textFrame:
			texts = append(texts, append([]byte(nil), bytes[frame.header:]...))
		}
	}
	*q = kept
	return texts
}
