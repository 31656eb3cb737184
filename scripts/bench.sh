#!/usr/bin/env bash
# Builds the benchmark and its peers into target/bench, and runs it: corelane and its peers in alternating rounds.
# Prints the results and writes target/bench/report.json and, with --write-docs, docs/performance.md with its plots.
# `bench.sh --rounds 3 ring` gives a quick result for one bench; `bench.sh --quick` shows that everything runs.
# benches/compare/main.rs lists the arguments.
#
# target/bench then has all that the benches of the library need, without debug information: the folder can be copied to
# another machine.
set -euo pipefail
cd "$(dirname "$0")/.."

export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
target=${CARGO_TARGET_DIR:-target}
built=$target/bench
mkdir -p "$built"

flags="${RUSTFLAGS:-}"
# yring needs a newer toolchain than corelane does.
minor=$(rustc --version | sed 's/^rustc 1\.\([0-9]*\).*/\1/')
if ((minor >= 93)); then flags="$flags --cfg corelane_yring"; else echo "skipped: yring (needs rustc 1.93)"; fi

# What does not build is skipped by the benchmark, with a line that says so.
rm -f "$built"/{compare,peerjs_server,peerjs_server_c,peerjs_server_go,peerjs_go,go_bench,pool,queues.so}
cargo build --quiet --release -p peerjs_server && strip -o "$built/peerjs_server" "$target/release/peerjs_server"
out=$(realpath "$built")
if scripts/lib.sh >/dev/null; then
    if pkg-config --exists libwebsockets 2>/dev/null; then
        make --no-print-directory -s -C examples/c -B OUT="$out/c" CORELANE_CFLAGS=-I../../include \
            CORELANE_LIBS="$(realpath "$target/c/libcorelane.a") -lpthread -ldl -lm" "$out/c/peerjs_server/peerjs_server" &&
            strip -o "$built/peerjs_server_c" "$built/c/peerjs_server/peerjs_server"
    fi
    if command -v go >/dev/null 2>&1; then
        go build -C go/examples/peerserver -tags corelane_static -ldflags "-s -w" -o "$out/peerjs_server_go" . || true
        go build -C go/bench -tags corelane_static -o "$out/go_bench" . || true
    fi
fi
# The server of github.com/muka/peerjs-go: from a checkout of yours (PEERJS_GO=FOLDER), or from GitHub. The module proxy does
# not have it.
if command -v go >/dev/null 2>&1; then
    peerjs_go=${PEERJS_GO:-$target/peerjs-go}
    [[ -d $peerjs_go ]] || GIT_TERMINAL_PROMPT=0 timeout 60 git clone --quiet --depth 1 https://github.com/muka/peerjs-go "$peerjs_go" ||
        echo "skipped: peerjs-go (no checkout; set PEERJS_GO)"
    [[ ! -d $peerjs_go ]] || GOFLAGS=-mod=mod go build -C "$peerjs_go" -o "$out/peerjs_go" ./cmd/server || true
fi
if command -v npm >/dev/null 2>&1 && [[ ! -f tests/conformance/node_modules/peer/dist/bin/peerjs.js ]]; then
    (cd tests/conformance && npm ci --silent --no-audit --no-fund) || echo "npm's peer is not installed"
fi
if command -v go >/dev/null 2>&1; then go build -o "$built/pool" benches/compare/router/pool.go || true; fi
if command -v g++ >/dev/null 2>&1; then
    g++ -std=c++17 -O3 -shared -fPIC -o "$built/queues.so" benches/compare/ring/peers.cpp || true
fi

program=$(RUSTFLAGS="$flags" cargo bench --no-run -p corelane-compare --message-format json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*\/compare-[^"]*\)".*/\1/p')
strip -o "$built/compare" "$program"
exec "$built/compare" "$@"
