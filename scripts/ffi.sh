#!/usr/bin/env bash
# Builds the library for C, compiles the programs of ffi-tests against it, and runs them. Each torture sends RECORDS
# records (default 10,000,000) in each direction through the rings of a port.
set -uo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/ffi-tests/go"
target=$(cd "$target" && pwd)
out=$target/ffi-tests
records=${RECORDS:-10000000}
passed=0 failed=0

cargo rustc --quiet --release --lib --features ffi-test --crate-type staticlib || exit 1
library=$target/release/libcorelane.a
system="-lpthread -ldl -lm"

step() { # step NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    # Print the output if the step fails; otherwise print a torture's figures.
    if timeout "$limit" "$@" >"$out/output.txt" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $name ($((SECONDS - start)) s) $(grep -m1 torture: "$out/output.txt" || true)"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        tail -30 "$out/output.txt"
    fi
}

strict="-std=c11 -O2 -g -Wall -Wextra -Wpedantic -Werror -Iinclude"
for program in main_job handlers monitor; do
    step "compile $program.c" 60 gcc $strict "ffi-tests/c/$program.c" "$library" $system -o "$out/$program"
    step "compile $program.c, sanitized" 60 gcc $strict -fsanitize=address,undefined -fno-sanitize-recover=all \
        "ffi-tests/c/$program.c" "$library" $system -o "$out/${program}_sanitized"
done
step "the ring header under gcc's thread sanitizer" 60 gcc $strict -fsanitize=thread -c ffi-tests/c/torture.c -o "$out/thread.o"
step "the headers in C++" 60 g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only -x c++ \
    include/corelane_inline.h

step "C: main job and failures" 60 "$out/main_job"
step "C: main job and failures, sanitized" 60 "$out/main_job_sanitized"
step "C: faults" 60 "$out/faults"
step "C: faults, sanitized" 120 "$out/faults_sanitized"
step "C: monitor" 60 "$out/monitor"
step "C: monitor, sanitized" 120 "$out/monitor_sanitized"
for workers in 1 2; do
    for ring in 8192 65536; do
        step "C: torture, $workers workers, rings of $ring, sanitized" 60 "$out/torture_sanitized" $((records / 50)) $ring $workers
    done
done
step "C: torture" 300 "$out/torture" "$records"

step "the libraries to install" 600 scripts/lib.sh
step "install, link and uninstall" 120 ffi-tests/install.sh

export CGO_ENABLED=1 CGO_CFLAGS="-I$PWD/include" CGO_LDFLAGS="$library $system"
step "go vet" 120 go -C ffi-tests/go vet ./...
step "compile Go" 200 go -C ffi-tests/go build -o "$out/go/" ./...
step "go test" 200 go -C ffi-tests/go test -count=1 ./ring
step "Go: main job and failures" 60 "$out/go/mainjob"
step "Go: faults" 120 "$out/go/faults"
step "Go: torture, 2 workers" 60 "$out/go/torture" $((records / 50)) 8192 2
step "Go: torture" 300 "$out/go/torture" "$records"

echo "ffi: $passed passed, $failed failed"
[[ $failed == 0 ]]
