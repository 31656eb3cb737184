#!/usr/bin/env bash
# Builds the library for C and runs the checks and tests of the Go module: vet, tests, the race detector, the build tags, and
# a program that is built against an installed library. The library that is installed on this machine, if any, is not used.
#   go.sh          everything
set -uo pipefail
cd "$(dirname "$0")/.."
source scripts/lib-names.sh

# Go 1.23 has iter, and an older one would download a newer toolchain by itself.
version_of_go=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
if [[ ${version_of_go:-0} -lt 23 ]]; then
    echo "go.sh: Go 1.23 or later is needed: make deps, or go.dev" >&2
    exit 1
fi

FEATURES=nats scripts/lib.sh >/dev/null || exit 1
prefix=$target/go/prefix
rm -rf "$prefix"
PREFIX=$prefix scripts/install.sh install || exit 1
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib CGO_ENABLED=1

passed=0 failed=0
step() { # step NAME SECONDS COMMAND...: the seconds are for a command that hangs, beside another suite
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    if timeout "$limit" bash -c '"$@"' step "$@" >"$target/go/output.txt" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $name ($((SECONDS - start)) s)"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        tail -40 "$target/go/output.txt"
    fi
}

formatted() { local files; files=$(gofmt -l go) && if [[ -n $files ]]; then echo "gofmt: $files"; return 1; fi; }

# The folder of a module below go/, for `go -C`. Modules of their own need theirs from the module proxy.
modules="go go/bench go/examples/observe go/examples/peerserver go/prom"
in_all() { # in_all COMMAND...: runs a go command in each module
    local module
    for module in $modules; do go -C "$module" "$@" || return 1; done
}

# Without cgo and without the tag the compiler must say what is missing, in one line.
says_what_is_missing() {
    local output
    output=$(CGO_ENABLED=0 go -C go build . 2>&1) && return 1
    echo "$output"
    [[ $(grep -c '^[^#]' <<<"$output") == 1 && $output == *corelane_needs_CGO_ENABLED_1* ]]
}

# A program outside of the module, linked by pkg-config, runs with the installed library and needs no other path.
program() {
    local folder=$target/go/program
    rm -rf "$folder" && mkdir -p "$folder" || return 1
    cat >"$folder/main.go" <<'END'
package main

import (
	"fmt"

	corelane "github.com/corelane/corelane/go"
)

func main() {
	router, err := corelane.Start(corelane.Config{"workers": "1"})
	if err != nil {
		panic(err)
	}
	defer router.Close()
	fmt.Println(corelane.Version())
}
END
    (cd "$folder" && go mod init example.test/program &&
        go mod edit -require=github.com/corelane/corelane/go@v0.0.0 "-replace=github.com/corelane/corelane/go=$root/go" &&
        go build -o program . && [[ $(./program) == "$numbers" ]] &&
        go build -ldflags '-linkmode external -extldflags "-static"' -tags "corelane_static netgo osusergo" -o static . &&
        [[ $(env -i ./static) == "$numbers" ]] && ! ldd ./static)
}

root=$PWD
PATH=$PATH:$(go env GOPATH)/bin # nats-server is there.
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly
# A stub build is for every system on which a developer works. Each needs Go's own packages built first.
stub_elsewhere() {
    local system
    for system in darwin/arm64 windows/amd64; do
        GOOS=${system%/*} GOARCH=${system#*/} go -C go build -tags corelane_stub ./... || return 1
    done
}

export -f formatted stub_elsewhere in_all says_what_is_missing program # for the shell that `timeout` starts
export modules target numbers root
step "gofmt" 120 formatted
step "go vet" 600 in_all vet ./...
step "go test" 1200 in_all test -count=1 ./...
step "go test -race" 1800 in_all test -count=1 -race ./...
step "go test, cgocheck=1 and GOGC=1" 1200 env GODEBUG=cgocheck=1 GOGC=1 go -C go test -count=1 -short ./...
step "go test, cgocheck2" 1800 env GOEXPERIMENT=cgocheck2 go -C go test -count=1 -short .
step "go test, stripes in place of processors" 1200 go -C go test -count=1 -short -tags corelane_no_linkname .
step "go test, corelane_static" 1200 go -C go test -count=1 -short -tags corelane_static ./...
export CGO_ENABLED=0
step "go vet, corelane_stub without cgo" 600 in_all vet -tags corelane_stub ./...
modules="go go/examples/observe go/prom" # The others are nothing without a router.
step "go test, corelane_stub without cgo" 600 in_all test -count=1 -tags corelane_stub ./...
step "go build, corelane_stub for other systems" 600 stub_elsewhere
step "go build without cgo and without the stub says what is missing" 120 says_what_is_missing
export CGO_ENABLED=1 GOFLAGS=
step "a program: pkg-config, and -static" 600 program
step "benchmarks run" 600 go -C go test -run '^$' -bench . -benchtime 100x .

echo "go: $passed passed, $failed failed"
[[ $failed == 0 ]]
