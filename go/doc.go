// Package corelane is the Go interface of corelane: a lock-free, thread-per-core message router with a performance monitor,
// for signaling servers.
//
// A [Router] routes messages between the clients of [Lane]s. A [Monitor] measures: that of a router shows what the router
// does, and one of [StartMonitor] needs no router, because the program records its own messages. Recording a message or
// counting does not call C: each processor of the Go scheduler has a small buffer, and a batch crosses to the library at
// once.
//
// # Linking
//
// The package needs cgo and the library (`make lib && make install` in the root of the repository):
//
//	go build ./...                          # finds the library with pkg-config
//	go build -tags corelane_static ./...    # the archive of this working copy: target/c/libcorelane.a
//	go build -tags corelane_stub ./...      # neither cgo nor the library: see [Stub]
//
// docs/go.md is the guide.
package corelane
