//go:build !cgo && !corelane_stub

package corelane

// The compiler's message is the sentence: without cgo there is no library to call.
var _ = corelane_needs_CGO_ENABLED_1_and_a_C_compiler_or_the_build_tag_corelane_stub
