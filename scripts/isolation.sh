#!/usr/bin/env bash
# What a culprit costs everybody else: rounds with and without it in turns; writes docs/isolation.md.
# `isolation.sh --rounds 3` for fewer rounds; `cargo bench --bench isolation -- panics` for one case, nothing written.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo bench --quiet --bench isolation -- --write-docs "$@"
