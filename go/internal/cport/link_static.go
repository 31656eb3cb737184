//go:build cgo && corelane_static && !corelane_stub

package cport

/*
#cgo CFLAGS: -I${SRCDIR}/../../../include
#cgo LDFLAGS: ${SRCDIR}/../../../target/c/libcorelane.a -lpthread -ldl -lm
*/
import "C"
