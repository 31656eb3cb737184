#!/usr/bin/env bash
# Builds the C examples, plain and sanitized, and runs the first three: `test.sh LIBRARY` with corelane's archive. Builds the
# PeerJS server too if libwebsockets is installed; tests/conformance runs it.
set -euo pipefail
library=$(realpath "$1")
cd "$(dirname "$0")"
root=$(realpath ../..)
work=$(mktemp -d)
started=()
trap 'kill "${started[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

build() { # build FLAGS... TARGET
    make --no-print-directory -s OUT="$work" CORELANE_CFLAGS="-I$root/include" CORELANE_LIBS="$library -lpthread -ldl -lm" \
        CFLAGS="-O1 -g ${*:1:$#-1}" "${@: -1}"
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Starts a program in the background and waits for its port: start NAME INPUT COMMAND...
start() {
    : >"$work/$1.out"
    "${@:3}" <"$2" 9>&- >"$work/$1.out" 2>"$work/$1.err" &
    pid=$!
    started+=("$pid")
    for _ in {1..1200}; do # a minute: a busy machine starts programs slowly
        port=$(sed -n 's/^listening on 127.0.0.1://p' "$work/$1.out")
        if [[ -n $port ]]; then return; fi
        sleep 0.05
    done
    fail "$1 does not listen: $(cat "$work/$1.err")"
}

monitor() {
    "$work/monitor" >"$work/monitor.out"
    for expected in "2000 messages, 10 failed" "slow: 10 times sip/offer of ann" "alert: Messages so far" "^corelane_"; do
        grep -q "$expected" "$work/monitor.out" || fail "monitor: no \"$expected\""
    done
}

epoll_router() {
    local line ann ben
    start router /dev/null "$work/epoll_router" 0
    exec {ann}<>"/dev/tcp/127.0.0.1/$port" {ben}<>"/dev/tcp/127.0.0.1/$port"
    printf 'ben\n{"type":"offer","to":"ben","payload":0}\n' >&"$ben"
    read -r -t 60 line <&"$ben" || fail "epoll_router: ben is not there"
    printf 'ann\n{"type":"offer","to":"ben","payload":1}\n{"type":"offer",' >&"$ann"
    printf '"to":"ben","payload":2}\nnonsense\n{"type":"ping"}\n' >&"$ann"
    for number in 1 2; do
        read -r -t 60 line <&"$ben" || fail "epoll_router: no message $number"
        [[ $line == *'"payload":'$number* && $line == *'"from":"ann"'* ]] || fail "epoll_router: $line"
    done
    # ann does not read: 40 MB are more than its credit and the network's buffers.
    head -c 60000 /dev/zero | tr '\0' x >"$work/large"
    for _ in {1..700}; do printf '{"type":"offer","to":"ann","payload":"%s"}\n' "$(cat "$work/large")"; done >&"$ben"
    for _ in {1..600}; do
        if grep -q "closed: credit_exhausted" "$work/router.err"; then break; fi
        sleep 0.1
    done
    grep -q "closed: credit_exhausted" "$work/router.err" || fail "epoll_router: a client that does not read stays"
    echo '{"type":"offer","to":"ben","payload":3}' >&"$ben"
    read -r -t 60 line <&"$ben" && [[ $line == *'"payload":3'* ]] || fail "epoll_router: $line"
    kill -TERM "$pid"
    wait "$pid" || fail "epoll_router: status $?: $(cat "$work/router.err")"
    exec {ann}>&- {ben}>&-
}

send_only() {
    local line reads deaf
    mkfifo "$work/input"
    exec 9<>"$work/input"
    start sender "$work/input" "$work/send_only" 0
    exec {reads}<>"/dev/tcp/127.0.0.1/$port" {deaf}<>"/dev/tcp/127.0.0.1/$port"
    # A line is only for those who are connected already, so it is sent until it comes.
    for _ in {1..60}; do
        echo first >&9
        if read -r -t 1 line <&"$reads"; then break; fi
    done
    [[ $line == first ]] || fail "send_only: $line"
    (exec 9>&-; while read -r line && [[ $line != last ]]; do :; done; echo "$line" >"$work/last") <&"$reads" &
    local reader=$!
    started+=("$reader")
    head -c 60000 /dev/zero | tr '\0' x >"$work/large"
    for _ in {1..700}; do cat "$work/large"; echo; done >&9
    sleep 0.5
    echo last >&9
    wait "$reader"
    [[ $(cat "$work/last") == last ]] || fail "send_only: who reads does not get the last line"
    exec 9>&- {reads}>&- {deaf}>&-
    wait "$pid" || fail "send_only: status $?: $(cat "$work/sender.err")"
    grep -q "lost: credit_exhausted" "$work/sender.out" || fail "send_only: nothing is lost for a client that does not read"
}

if pkg-config --exists libwebsockets; then build "$work/peerjs_server/peerjs_server"; fi
for flags in -O2 "-fsanitize=address,undefined -fno-sanitize-recover=all"; do
    rm -f "$work"/{monitor,epoll_router,send_only,input}
    build "$flags" all
    monitor
    epoll_router
    send_only
    echo "ok: C examples with $flags"
done
