//go:build !corelane_stub

package corelane

// #include <corelane.h>
import "C"

import (
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

const stub = false

// newError returns an error struct for a setup call.
func newError() C.corelane_error {
	return C.corelane_error{size: C.uint32_t(unsafe.Sizeof(C.corelane_error{}))}
}

// failure turns the result of a call into an error: nil for 0 or a count. `detail` may be nil.
func failure(status C.int32_t, detail *C.corelane_error) error {
	if status >= 0 {
		return nil
	}
	if detail == nil || detail.message[0] == 0 {
		return sentinel(Code(status))
	}
	return &Error{Code: Code(status), Message: C.GoString(&detail.message[0]), Errno: syscall.Errno(detail.os_errno)}
}

// text returns the bytes and the length of a Go string for the call that it is passed to. No copy is made: the library
// copies what it needs during the call.
func text(s string) (*C.char, C.size_t) {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(s))), C.size_t(len(s))
}

// pinnedText is text for a pointer inside of a struct, which must not move before the pins are released. The bytes are a copy:
// the string's may be no memory of Go's.
func pinnedText(pins *runtime.Pinner, s string) (*C.char, C.size_t) {
	if s == "" {
		return nil, 0
	}
	bytes := []byte(s)
	pins.Pin(&bytes[0])
	return (*C.char)(unsafe.Pointer(&bytes[0])), C.size_t(len(bytes))
}

// takeText copies a text of the library and frees it.
func takeText(text *C.corelane_text) string {
	defer C.corelane_text_free(text)
	if text.data == nil {
		return ""
	}
	return C.GoStringN(text.data, C.int(text.length))
}

func newText() C.corelane_text {
	return C.corelane_text{size: C.uint32_t(unsafe.Sizeof(C.corelane_text{}))}
}

// fixed reads a text that ends with a NUL from an array of chars.
func fixed(array []C.char) string {
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&array[0])), len(array))
	text := string(bytes)
	if end := strings.IndexByte(text, 0); end >= 0 {
		return text[:end]
	}
	return text
}

func libraryVersion() uint32 { return uint32(C.corelane_version()) }
