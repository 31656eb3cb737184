//go:build !amd64 && !arm64

// An assembly file, also an empty one, lets the package declare functions without a body.
