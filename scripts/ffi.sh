#!/usr/bin/env bash
# Builds the library for C, compiles the programs of ffi-tests against it, and runs them: plainly, with sanitizers, under
# valgrind. Then compares what they have seen of include/corelane.h with its documentation: each call must have returned every
# status that it documents, and no other. The calls for Go (src/ffi/lane.rs) are tested in go/.
set -uo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target/ffi-tests"
target=$(cd "$target" && pwd)
out=$target/ffi-tests
passed=0 failed=0

cargo rustc --quiet --release --lib --features ffi-test,http,elasticsearch,otlp,nats --crate-type staticlib || exit 1
library=$target/release/libcorelane.a
system="-lpthread -ldl -lm"

step() { # step NAME SECONDS COMMAND...: the seconds are for a command that hangs, beside another suite
    local name=$1 limit=$2 start=$SECONDS
    shift 2
    # Print the output if the step fails.
    if timeout "$limit" "$@" >"$out/output.txt" 2>&1; then
        passed=$((passed + 1))
        echo "ok: $name ($((SECONDS - start)) s)"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        tail -30 "$out/output.txt"
    fi
}

optional() { # optional TOOL: whether it is there; fails if all are required
    if command -v "$1" >/dev/null; then return 0; fi
    echo "skipped: what needs $1"
    if [[ ${CORELANE_REQUIRE_ALL:-} == 1 ]]; then failed=$((failed + 1)); fi
    return 1
}

warnings="-Wall -Wextra -Wpedantic -Werror -Iinclude"
step "read the header, and compare it with an earlier one" 300 python3 ffi-tests/header.py "$out/generated"
if [[ $failed != 0 ]]; then exit 1; fi

# The server of cluster.c. Without it the statuses that need one are not asked for.
# `make deps` installs it.
NATS_SERVER=${NATS_SERVER:-$(PATH=$PATH:$(go env GOPATH 2>/dev/null)/bin command -v nats-server || true)}
if [[ -z $NATS_SERVER ]]; then
    echo "skipped: clusters from C, because nats-server is missing (go install github.com/nats-io/nats-server/v2@v2.15.3)"
    if [[ ${CORELANE_REQUIRE_ALL:-} == 1 ]]; then failed=$((failed + 1)); fi
fi
export NATS_SERVER

# The header needs no feature macro, and every INIT macro is an initializer.
for language in c99 c11 gnu99 c17; do
    step "the header in $language" 300 gcc "-std=$language" $warnings -fsyntax-only "$out/generated/inits.c"
done
step "the header in C++17" 300 g++ -std=c++17 $warnings -fsyntax-only -x c++ "$out/generated/inits.c"
step "the header in C++20" 300 g++ -std=c++20 $warnings -fsyntax-only -x c++ "$out/generated/inits.c"
if command -v clang >/dev/null; then
    step "the header in C11, clang" 300 clang -std=c11 $warnings -fsyntax-only "$out/generated/inits.c"
fi

# Every program, plainly and with sanitizers. The plain ones record what each call returns.
programs=$(cd ffi-tests/c && for one in *.c; do echo "${one%.c}"; done)
strict="-std=c11 -O2 -g $warnings -I$out/generated"
rm -f "$out/coverage.txt"
export CORELANE_COVERAGE=$out/coverage.txt RUST_BACKTRACE=0
touch "$CORELANE_COVERAGE"
for program in $programs; do
    step "compile $program.c" 300 gcc $strict "@$out/generated/wrap.txt" "ffi-tests/c/$program.c" "$out/generated/recorded.c" \
        "$library" $system -o "$out/$program"
    step "compile $program.c, sanitized" 300 gcc $strict -fsanitize=address,undefined -fno-sanitize-recover=all \
        "ffi-tests/c/$program.c" "$library" $system -o "$out/${program}_sanitized"
    step "C: $program" 300 "$out/$program"
    step "C: $program, sanitized" 300 "$out/${program}_sanitized"
done
if optional valgrind; then
    step "C: main_job, valgrind" 300 valgrind -q --error-exitcode=1 "$out/main_job"
fi
coverage=$CORELANE_COVERAGE
unset CORELANE_COVERAGE

step "C: examples" 600 examples/c/test.sh "$library"
step "C: the listings of docs/c.md" 400 examples/c/listings.sh "$library"

step "the libraries to install" 1800 scripts/lib.sh
step "install, link and uninstall" 600 ffi-tests/install.sh

# The libraries to install have no clusters, unless FEATURES=nats: cluster.c sees what they answer.
step "compile cluster.c, without clusters" 300 gcc $strict "@$out/generated/wrap.txt" ffi-tests/c/cluster.c \
    "$out/generated/recorded.c" "$target/c/libcorelane.a" $system -o "$out/no_clusters"
step "C: cluster, without clusters" 300 env CORELANE_COVERAGE="$coverage" "$out/no_clusters"
python3 ffi-tests/coverage.py "$coverage" && passed=$((passed + 1)) || failed=$((failed + 1))

# The races of the program itself. The library is not instrumented: its own are for scripts/tsan.sh.
source scripts/lib-names.sh
ln -sf "$built/$library" "$out/$soname"
step "compile threads.c, thread sanitizer" 300 gcc $strict -fsanitize=thread ffi-tests/c/threads.c "$out/$soname" -lpthread \
    "-Wl,-rpath,$out" -o "$out/threads_tsan"
TSAN_OPTIONS=ignore_noninstrumented_modules=1 step "C: threads, thread sanitizer" 300 "$out/threads_tsan" 2000
echo "ffi: $passed passed, $failed failed"
[[ $failed == 0 ]]
