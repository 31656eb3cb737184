#!/usr/bin/env bash
# Runs the ring, the shards and the credit word on real threads under the thread sanitizer. Then plants a Relaxed
# store in place of one Release, which the sanitizer must report.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTC_BOOTSTRAP=1 # -Z flags on the stable compiler
export RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg corelane_mutants"
target=$(rustc -vV | sed -n 's/^host: //p')
built=$(cargo test --quiet --lib --target "$target" --target-dir target/tsan --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
export RUST_BACKTRACE=0 TSAN_OPTIONS="suppressions=$PWD/scripts/tsan.supp"
"$built" races
if CORELANE_MUTANT=ring-tail-relaxed "$built" races::ring >target/tsan/planted.txt 2>&1; then
    echo "FAILED: the sanitizer does not detect the planted Relaxed publication"
    exit 1
fi
grep -q "WARNING: ThreadSanitizer: data race" target/tsan/planted.txt
echo "tsan: 4 passed, 0 failed"
