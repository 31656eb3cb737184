#!/usr/bin/env bash
# Measures the cost of a culprit for other clients in alternating rounds with and without it; writes
# docs/isolation.md. `isolation.sh --rounds 3` runs fewer rounds. `cargo bench --bench isolation -- panics` runs one
# case and writes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo bench --quiet --bench isolation -- --write-docs "$@"
