module github.com/corelane/corelane/go/examples/peerserver

go 1.25

require (
	github.com/corelane/corelane/go v0.0.0
	// Kept up again since 2023, and the most used. It reads into the caller's buffer with one allocation of 8 bytes per
	// message; github.com/coder/websocket arms a context for each. Its writes can be led through the queue of the server.
	github.com/gorilla/websocket v1.5.3
)

replace github.com/corelane/corelane/go => ../..
