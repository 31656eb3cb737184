#!/usr/bin/env bash
# Runs tests/otlp with the receiver of the OpenTelemetry collector, which it builds from the Go module proxy.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(realpath -m target/otlp)
mkdir -p "$work"
(cd tests/otlp/collector && go build -o "$work/collector" .)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$work/collector" "127.0.0.1:$port" "$work/metrics.jsonl" &
trap 'kill -INT $!' EXIT
for _ in {1..1200}; do # a minute: a busy machine starts programs slowly
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.05
done
export CORELANE_COLLECTOR="http://127.0.0.1:$port" CORELANE_COLLECTOR_FILE="$work/metrics.jsonl" CORELANE_OTLP_SUITE=1
cargo test --test otlp -- --nocapture "$@"
