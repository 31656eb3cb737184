#!/usr/bin/env bash
# Corelane against its peers, in turns in one run: a table, target/bench/report.json and, with --write-docs,
# docs/performance.md. `bench.sh --rounds 3 ring` for a quick look at one of ring, router, envelope, record, server.
set -euo pipefail
cd "$(dirname "$0")/.."

flags="${RUSTFLAGS:-}"
# yring asks for a newer toolchain than corelane does.
minor=$(rustc --version | sed 's/^rustc 1\.\([0-9]*\).*/\1/')
if ((minor >= 93)); then flags="$flags --cfg corelane_yring"; else echo "skipped: yring (needs rustc 1.93)"; fi

# What the server's rows need; without it they are skipped with a reason.
if [[ -f examples/peerjs_server/main.rs ]]; then
    cargo build --quiet --release --example peerjs_server || echo "examples/peerjs_server does not build"
    if command -v npm >/dev/null 2>&1 && [[ ! -f tests/conformance/node_modules/peer/dist/bin/peerjs.js ]]; then
        (cd tests/conformance && npm ci --silent --no-audit --no-fund) || echo "npm's peer is not there"
    fi
fi

RUSTFLAGS="$flags" exec cargo bench --quiet --bench compare --features bench-internals -- "$@"
