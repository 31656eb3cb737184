//go:build cgo && corelane_static && !corelane_stub

package corelane

/*
#cgo CFLAGS: -I${SRCDIR}/../include
#cgo LDFLAGS: ${SRCDIR}/../target/c/libcorelane.a -lpthread -ldl -lm
#if !__has_include("../target/c/libcorelane.a")
#error "corelane: target/c/libcorelane.a is missing: run `make lib` in the root of the repository, or build with -tags corelane_stub"
#endif
*/
import "C"

// buildTag is the tag of this build.
const buildTag = "corelane_static"
