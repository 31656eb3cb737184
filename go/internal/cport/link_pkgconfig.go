//go:build cgo && !corelane_static && !corelane_stub

package cport

// #cgo pkg-config: corelane
import "C"
