//go:build cgo && !corelane_static && !corelane_stub

package corelane

// #cgo pkg-config: corelane
import "C"

// buildTag is the tag of this build.
const buildTag = ""
