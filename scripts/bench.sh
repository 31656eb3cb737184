#!/usr/bin/env bash
# Runs corelane and its peers in alternating rounds. Prints a table and writes target/bench/report.json and, with
# --write-docs, docs/performance.md. `bench.sh --rounds 3 ring` gives a quick result for one of ring, router,
# envelope, record, server.
set -euo pipefail
cd "$(dirname "$0")/.."

flags="${RUSTFLAGS:-}"
# yring needs a newer toolchain than corelane does.
minor=$(rustc --version | sed 's/^rustc 1\.\([0-9]*\).*/\1/')
if ((minor >= 93)); then flags="$flags --cfg corelane_yring"; else echo "skipped: yring (needs rustc 1.93)"; fi

# The server's rows need the server and npm's peer. Without them the rows are skipped, and the reason is printed.
if [[ -f examples/peerjs_server/Cargo.toml ]]; then
    cargo build --quiet --release -p peerjs_server || echo "the server does not build"
    if command -v npm >/dev/null 2>&1 && [[ ! -f tests/conformance/node_modules/peer/dist/bin/peerjs.js ]]; then
        (cd tests/conformance && npm ci --silent --no-audit --no-fund) || echo "npm's peer is not installed"
    fi
fi

RUSTFLAGS="$flags" exec cargo bench --quiet -p corelane-compare -- "$@"
