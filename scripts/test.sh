#!/usr/bin/env bash
# Runs test suites and prints the seconds that each took. `test.sh NAME...` runs the named suites or groups; without a
# name it runs all. Group `test` is what a change of a line needs, `verify` the longer rest, `figures` what only measures. Two run at once;
# the output of each is printed when it ends. Suites that need a missing tool are listed as skipped; with
# CORELANE_REQUIRE_ALL=1 a skip is a failure.
set -uo pipefail
cd "$(dirname "$0")/.."

# nginx is in /usr/sbin, nats-server where `go install` puts it.
export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:$(go env GOPATH 2>/dev/null)/bin

# Passes each suite to a command: GROUP LANE NAME "REQUIRED TOOLS" COMMAND... The suites of a lane run one after another, the two
# lanes beside each other, because many suites of servers wait most of the time. Suites of the lane `release` share the release
# build and the packages of tests/conformance; those of the lane `own` use other folders.
suites() {
    "$1" test own unit "" cargo test --quiet --workspace
    "$1" test own portable "" cargo test --quiet --features portable-scan --test envelope
    "$1" test own loom "" scripts/loom.sh models
    "$1" test release conformance "node npm openssl python3" conformance conformance.mjs sockets.mjs running.mjs drain.mjs monitor.mjs parity.mjs exports.mjs
    "$1" test release browser "node npm chromium" conformance browser.mjs
    "$1" test release page "node npm chromium" conformance page.mjs
    "$1" test release ffi "gcc g++ go python3" scripts/ffi.sh
    "$1" test release go "gcc go pkg-config" scripts/go.sh
    "$1" test release conformance-c "node npm openssl gcc lws" conformance_c conformance.mjs sockets.mjs running.mjs monitor.mjs parity.mjs
    "$1" test release browser-c "node npm chromium gcc lws" conformance_c browser.mjs
    "$1" test release conformance-go "node npm openssl gcc go python3" conformance_go conformance.mjs sockets.mjs running.mjs monitor.mjs parity.mjs
    "$1" test release browser-go "node npm chromium gcc go" conformance_go browser.mjs
    "$1" test release page-go "node npm chromium gcc go" conformance_go page.mjs
    "$1" verify release conformance-c-threads "node npm openssl gcc lws" conformance_c_threads
    "$1" verify release page-c "node npm chromium gcc lws" conformance_c page.mjs
    "$1" verify own loom-mutants "" scripts/loom.sh mutants
    "$1" verify own simulator-mutants "" scripts/simulator-mutants.sh
    "$1" verify own tsan "" scripts/tsan.sh
    "$1" verify release c-calls "" c_calls
    "$1" verify release conformance-go-threads "node npm openssl gcc go python3" conformance_go_threads
    "$1" verify release soak-go "gcc go" soak_go
    "$1" verify release conformance-original "node npm openssl" conformance_original
    "$1" verify release scale "node npm" conformance scale.mjs
    "$1" verify release cluster "node npm chromium nats-server gcc go lws" cluster
    "$1" verify release cluster-c "node npm nats-server gcc lws" conformance_c cluster.mjs drain.mjs
    "$1" verify release cluster-go "node npm nats-server gcc go" conformance_go cluster.mjs drain.mjs
    "$1" verify release dashboards "go node npm openssl prometheus promtool nginx" dashboards
    "$1" verify release instructions "valgrind" scripts/callgrind.sh
    "$1" verify own elasticsearch "mvn javac" scripts/elasticsearch.sh
    "$1" verify own otlp "go python3" scripts/otlp.sh
    "$1" verify own fuzz "cargo-fuzz" scripts/fuzz.sh
    "$1" figures release bench "go g++ node npm" scripts/bench.sh --quick
}

conformance() {
    cargo build --release -p peerjs_server || return 1
    (cd tests/conformance && npm ci --silent --no-audit --no-fund) || return 1
    local server='["../../target/release/peerjs_server","--port","{port}","--host","127.0.0.1","--monitor","127.0.0.1:{monitor}"]'
    (cd tests/conformance && SUITE=${SUITE_PART:-all} SERVER_COMMAND=$server node --test "$@")
}

# Three servers as one, over NATS: the shared part with each client on the next server, then what is special to a cluster.
cluster() {
    local nats
    for nats in 1 3; do
        CLUSTER=$nats SUITE_PART=shared SKIPS=cluster-skips.json conformance conformance.mjs sockets.mjs browser.mjs || return 1
    done
    conformance cluster.mjs && cluster_mixed
}

# A server in Rust, one in C and one in Go as one: the shared part, calls in the browser, and what several machines promise.
cluster_mixed() {
    cargo build --release -p peerjs_server && c_server && go_server || return 1
    local options='"--port","{port}","--host","127.0.0.1","--monitor","127.0.0.1:{monitor}"'
    local servers='[["../../target/release/peerjs_server",'$options'],["../../target/examples-c/peerjs_server/peerjs_server",'$options'],
        ["../../target/examples-go/peerserver",'$options']]'
    local skips=cluster-skips.json,../../examples/c/peerjs_server/skips.json,../../go/examples/peerserver/skips.json
    local tests='(are those of all|takes over|while a client moves|absent client is held|keep their order|rolling restart).*1 NATS'
    (cd tests/conformance && CLUSTER=1 SUITE=shared SKIPS=$skips SERVER_COMMAND=$servers node --test conformance.mjs browser.mjs &&
        SUITE=all SERVER_COMMAND=$servers node --test --test-name-pattern "$tests" cluster.mjs)
}

# The Prometheus rules, the Grafana dashboard, and the files of packaging/ for servers.
dashboards() {
    (cd tests/grafana && go vet . && go run . ../../docs/grafana/corelane.json) || return 1
    cargo build --release -p corelane-examples --bin monitor_axum || return 1
    RECORDER=$PWD/target/release/monitor_axum conformance dashboards.mjs proxies.mjs
}

# A million random calls of the C interface, from another seed each day.
c_calls() {
    local seed
    seed=$(date +%Y%m%d)
    CORELANE_C_CALLS=1000000 CORELANE_C_SEED=$seed cargo test --release --test c_calls -- --nocapture
}

# Builds the server of examples/c. `c_server [FLAGS]` leaves target/examples-c/peerjs_server/peerjs_server.
c_server() {
    cargo rustc --quiet --release --lib --crate-type staticlib --features ffi-test,http,elasticsearch,otlp,nats || return 1
    (cd tests/conformance && npm ci --silent --no-audit --no-fund) || return 1
    mkdir -p target/examples-c
    make --no-print-directory -s -C examples/c -B OUT=../../target/examples-c CFLAGS="-O2 -g ${1:-}" CORELANE_CFLAGS=-I../../include \
        CORELANE_LIBS="../../target/release/libcorelane.a -lpthread -ldl -lm" ../../target/examples-c/peerjs_server/peerjs_server
}

conformance_c() {
    c_server || return 1
    local server='["../../target/examples-c/peerjs_server/peerjs_server","--port","{port}","--host","127.0.0.1","--monitor","127.0.0.1:{monitor}"]'
    (cd tests/conformance && SUITE=all SKIPS=../../examples/c/peerjs_server/skips.json SERVER_COMMAND=$server node --test "$@")
}

# The same with two threads, and under gcc's sanitizers.
conformance_c_threads() {
    c_server "-fsanitize=address,undefined -fno-sanitize-recover=all" || return 1
    local server='["../../target/examples-c/peerjs_server/peerjs_server","--port","{port}","--host","127.0.0.1","--monitor","127.0.0.1:{monitor}","--threads","2"]'
    local log=$PWD/target/examples-c/sanitizer.log
    rm -f "$log".*
    (cd tests/conformance && SUITE=all SKIPS=../../examples/c/peerjs_server/skips.json SERVER_COMMAND=$server \
        ASAN_OPTIONS=log_path=$log UBSAN_OPTIONS=log_path=$log node --test conformance.mjs sockets.mjs running.mjs monitor.mjs) || return 1
    # Many tests end a server without a look at its exit status.
    if compgen -G "$log.*" >/dev/null; then cat "$log".*; return 1; fi
}

# Builds the server of go/examples. `go_server [FLAGS of go build]` leaves target/examples-go/peerserver.
go_server() {
    FEATURES=nats scripts/lib.sh >/dev/null || return 1
    (cd tests/conformance && npm ci --silent --no-audit --no-fund) || return 1
    mkdir -p target/examples-go
    (cd go/examples/peerserver && go vet -tags corelane_static . && go build -tags corelane_static "$@" -o ../../../target/examples-go/peerserver .)
}

conformance_go() {
    go_server || return 1
    local server='["../../target/examples-go/peerserver","--port","{port}","--host","127.0.0.1","--monitor","127.0.0.1:{monitor}"]'
    (cd tests/conformance && SUITE=all SKIPS=../../go/examples/peerserver/skips.json SERVER_COMMAND=$server node --test "$@")
}

# The same with two threads, two workers and two lanes, and under Go's race detector.
conformance_go_threads() {
    go_server -race || return 1
    local server='["../../target/examples-go/peerserver","--port","{port}","--host","127.0.0.1","--monitor","127.0.0.1:{monitor}","--threads","2","--lanes","2"]'
    local log=$PWD/target/examples-go/race.log skips=$PWD/target/examples-go/skips.json
    rm -f "$log".*
    node -e 'const skips = require(process.argv[1]); skips["memory of a flood of half-open connections is given back"] =
        "the race detector keeps memory"; console.log(JSON.stringify(skips))' "$PWD/go/examples/peerserver/skips.json" >"$skips"
    (cd tests/conformance && SUITE=all SKIPS=$skips SERVER_COMMAND=$server \
        GORACE="log_path=$log halt_on_error=1" node --test conformance.mjs sockets.mjs running.mjs monitor.mjs) || return 1
    # Many tests end a server without a look at its exit status.
    if compgen -G "$log.*" >/dev/null; then cat "$log".*; return 1; fi
}

# Thousands of clients that come and go: memory, goroutines and descriptors stay flat.
soak_go() {
    FEATURES=nats scripts/lib.sh >/dev/null && (cd go/examples/peerserver && CORELANE_SOAK=1 go test -count=1 -tags corelane_static -run Soak -v .)
}

conformance_original() {
    (cd tests/conformance && npm ci --silent --no-audit --no-fund) || return 1
    local server='["node","node_modules/peer/dist/bin/peerjs.js","--port","{port}","--host","127.0.0.1"]'
    (cd tests/conformance && SUITE=shared SERVER_COMMAND=$server node --test conformance.mjs sockets.mjs parity.mjs)
}

known=()

has() {
    case $1 in
        lws) pkg-config --exists libwebsockets ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# Whether the first argument is among the others.
among() {
    local one=$1 other
    shift
    for other in "$@"; do if [[ $one == "$other" ]]; then return 0; fi; done
    return 1
}

name() { known+=("$1" "$3"); }

asked() { among "$1" "${only[@]}" || among "$3" "${only[@]}"; }

lane_of() { if asked "$@"; then lanes+=("$2"); fi; }

# Runs a suite of $lane, and adds a line to $results: passed, failed or skipped, the seconds, the name.
run() {
    local name=$3 tools=$4 tool start=$SECONDS result=passed
    if [[ $2 != "$lane" ]] || ! asked "$@"; then return; fi
    shift 4
    for tool in $tools; do
        if ! has "$tool"; then
            echo "skipped: $name ($tool is missing: make deps)"
            echo "skipped 0 $name" >>"$results"
            return
        fi
    done
    if [[ $captured ]]; then "$@" >"$results.$lane" 2>&1 || result=failed; fi
    {
        flock 9
        echo "=== $name"
        if [[ $captured ]]; then cat "$results.$lane"; else "$@" || result=failed; fi
        if [[ $result == failed ]]; then echo "FAILED: $name"; fi
    } 9>"$results.lock"
    echo "$result $((SECONDS - start)) $name" >>"$results"
}

suites name
only=("$@")
if [[ $# == 0 ]]; then only=(test verify); fi
for one in "${only[@]}"; do
    if ! among "$one" "${known[@]}"; then
        echo "test.sh: no suite or group is named $one; known: $(printf '%s\n' "${known[@]}" | awk '!seen[$0]++' | paste -sd' ')" >&2
        exit 2
    fi
done
lanes=()
suites lane_of
mapfile -t lanes < <(printf '%s\n' "${lanes[@]}" | sort -u)
captured= # What two suites print at once would mix.
if [[ ${#lanes[@]} == 2 ]]; then captured=yes; fi
results=$(mktemp)
trap 'rm -f "$results"*' EXIT
set -m # Each lane is a process group, so that all of it can be ended.
running=()
trap 'for group in "${running[@]}"; do kill -- "-$group"; done; exit 130' INT TERM
for lane in "${lanes[@]}"; do
    suites run </dev/null &
    running+=($!)
done
wait

echo "--- seconds per suite, builds included"
awk '{ printf "%4d s  %s\n", $2, $3 }' "$results"
printf '%4d s  total\n' $SECONDS
count() { grep -c "^$1 " "$results"; }
echo "suites: $(count passed) passed, $(count failed) failed, $(count skipped) skipped"
sed -n 's/^\(failed\|skipped\) [0-9]* /\1: /p' "$results"
[[ $(count failed) == 0 ]] || exit 1
[[ $(count skipped) == 0 || ${CORELANE_REQUIRE_ALL:-} != 1 ]]
