#!/usr/bin/env bash
# Runs every suite that this machine supports and prints the time of each. Suites that need a missing tool are listed
# as skipped; with CORELANE_REQUIRE_ALL=1 a skip is a failure. `test.sh SUITE...` runs only the named suites.
set -uo pipefail
cd "$(dirname "$0")/.."

skipped=() failed=() passed=0 report=()

export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

has() { command -v "$1" >/dev/null 2>&1; }

suite() { # suite NAME "REQUIRED TOOLS" COMMAND...
    local name=$1 tools=$2
    shift 2
    if [[ ${#only[@]} -gt 0 && " ${only[*]} " != *" $name "* ]]; then return; fi
    for tool in $tools; do
        if ! has "$tool"; then
            echo "skipped: $name ($tool is missing: make deps)"
            skipped+=("$name")
            return
        fi
    done
    local start=$SECONDS
    echo "=== $name"
    if "$@"; then passed=$((passed + 1)); else
        echo "FAILED: $name"
        failed+=("$name")
    fi
    report+=("$(printf '%4d s  %s' $((SECONDS - start)) "$name")")
}

conformance() {
    cargo build --release -p peerjs_server || return 1
    (cd tests/conformance && npm ci --silent --no-audit --no-fund) || return 1
    local server='["../../target/release/peerjs_server","--port","{port}","--host","127.0.0.1","--monitor","127.0.0.1:{monitor}"]'
    (cd tests/conformance && SUITE=all SERVER_COMMAND=$server node --test "$@")
}

conformance_original() {
    (cd tests/conformance && npm ci --silent --no-audit --no-fund) || return 1
    local server='["node","node_modules/peer/dist/bin/peerjs.js","--port","{port}","--host","127.0.0.1"]'
    (cd tests/conformance && SUITE=shared SERVER_COMMAND=$server node --test conformance.mjs sockets.mjs parity.mjs)
}

only=("$@")
suite unit "" cargo test --quiet
suite loom "" scripts/loom.sh models
suite loom-mutants "" scripts/loom.sh mutants
suite simulator-mutants "" scripts/simulator-mutants.sh
suite tsan "" scripts/tsan.sh
suite conformance "node npm openssl python3" conformance conformance.mjs sockets.mjs running.mjs monitor.mjs parity.mjs
suite conformance-original "node npm openssl" conformance_original
suite scale "node npm" conformance scale.mjs
suite browser "node npm chromium" conformance browser.mjs
suite ffi "gcc go" scripts/ffi.sh
suite instructions "valgrind" scripts/callgrind.sh
suite fuzz "cargo-fuzz" scripts/fuzz.sh

printf '%s\n' "--- seconds per suite" "${report[@]}"
echo "suites: $passed passed, ${#failed[@]} failed, ${#skipped[@]} skipped"
for name in "${failed[@]}"; do echo "failed: $name"; done
for name in "${skipped[@]}"; do echo "skipped: $name"; done
[[ ${#failed[@]} == 0 ]] || exit 1
[[ ${#skipped[@]} == 0 || ${CORELANE_REQUIRE_ALL:-} != 1 ]]
