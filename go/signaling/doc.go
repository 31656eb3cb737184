// Package signaling has the names of the specification of the performance monitor for WebRTC signaling servers, on top
// of corelane: PerformanceMonitor, ConcurrentMessageRouter and SignalingServer. Every listing of the specification
// compiles with it as it is written, and runs in this package's tests.
//
// The three types share one set of figures. A PerformanceMonitor works alone: the host records what it has handled. With
// a ConcurrentMessageRouter it also shows every message that the router handles, without a call by the host. A
// SignalingServer is a small server on net/http and WebSocket with both inside.
//
// docs/specification.md says what each name does, and where it differs from the specification. New programs that do not
// need these names use package corelane.
package signaling
