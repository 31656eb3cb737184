package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestHeadersHaveTheSizeOfTheText(t *testing.T) {
	for _, one := range []struct {
		size   int
		header []byte
	}{
		{0, []byte{0x81, 0}}, {125, []byte{0x81, 125}}, {126, []byte{0x81, 126, 0, 126}},
		{65_535, []byte{0x81, 126, 0xFF, 0xFF}}, {65_536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
	} {
		var q queue
		q.push(textFrame, bytes.Repeat([]byte{'x'}, one.size), credit{})
		if !bytes.HasPrefix(q.pending(), one.header) || len(q.pending()) != len(one.header)+one.size {
			t.Errorf("%d bytes: %x", one.size, q.pending()[:min(12, len(q.pending()))])
		}
	}
}

// A write may end inside a frame: its credit comes once it is whole, and only frames that are not begun can be handed
// over.
func TestFramesAreTakenInParts(t *testing.T) {
	var q queue
	q.push(textFrame, []byte("first"), credit{1, 5})
	q.push(pingFrame, nil, credit{})
	q.push(textFrame, []byte("second"), credit{1, 6})
	if written := q.taken(6); written != (credit{}) || q.count() != 3 {
		t.Fatalf("%v, %d frames", written, q.count())
	}
	if written := q.taken(3); written != (credit{1, 5}) || q.count() != 1 {
		t.Fatalf("%v, %d frames", written, q.count())
	}
	q.push(closeFrame, nil, credit{})
	q.push(textFrame, []byte("third"), credit{1, 5})
	q.taken(2)
	texts := q.rest()
	if len(texts) != 1 || string(texts[0]) != "third" {
		t.Fatalf("%q", texts)
	}
	if string(q.pending()) != "second" || q.taken(6) != (credit{1, 6}) || !q.isEmpty() {
		t.Fatalf("%q", q.pending())
	}
}

func TestTheMemoryOfAQueueFollowsItsFrames(t *testing.T) {
	var q queue
	text := []byte(strings.Repeat("x", 1000))
	total := 0
	for range 1000 {
		q.push(textFrame, text, credit{1, 1000})
		for q.count() > 3 {
			total += int(q.taken(700).messages)
		}
	}
	if cap(q.bytes) > 64<<10 {
		t.Errorf("%d bytes for %d frames", cap(q.bytes), q.count())
	}
	total += int(q.taken(len(q.pending())).messages)
	if total != 1000 || cap(q.bytes) > keptBytes {
		t.Errorf("%d messages, %d bytes kept", total, cap(q.bytes))
	}
}
