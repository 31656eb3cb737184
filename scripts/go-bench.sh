#!/usr/bin/env bash
# Compares the Go side with a pool of goroutines and channels and with client_golang, in alternating rounds. Prints the
# result, and writes it to target/bench/go.json. `go-bench.sh -rounds 3 -only route` gives a quick result; go/bench/main.go
# lists the arguments.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib-names.sh

scripts/lib.sh >/dev/null
mkdir -p "$target/bench"
go -C go/bench build -tags corelane_static -o "$(realpath "$target/bench")/go_bench" .
exec "$target/bench/go_bench" -json "$target/bench/go.json" "$@"
