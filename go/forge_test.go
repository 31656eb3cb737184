package corelane

import (
	"unsafe"

	rings "github.com/corelane/corelane/go/internal/ring"
)

type ringProducer = rings.Producer

// forge pushes a delivery record that no worker writes.
func forge(to *rings.Producer, length int, kind, flags uint16, recipients uint32) {
	place, err := to.Claim(length, kind, flags, 0)
	if err != nil {
		panic(err)
	}
	clear(unsafe.Slice((*byte)(unsafe.Add(place, 8)), length-8))
	if length >= 48 {
		*(*uint32)(unsafe.Add(place, 44)) = recipients
	}
	for at := 64; at+8 <= length; at += 8 {
		*(*uint64)(unsafe.Add(place, at)) = 1 << 40 // A payload's number, then its length.
	}
	to.Commit()
	to.Publish()
}
