# All commands for users and CI. `make run` starts the server, `make check` checks a change before it is committed,
# `make test` runs the tests that every change needs, `make verify` runs the longer ones.

ARGS ?=
SERVER = target/release/peerjs_server

.PHONY: run test verify check bench isolation loom loom-mutants loom-long simulator envelope lib install install-debug uninstall go deps deps-if-root

run:
	cargo build --release -p peerjs_server
	exec $(SERVER) $(ARGS)

test: deps-if-root
	scripts/test.sh test

verify: deps-if-root
	scripts/test.sh verify

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -- -D warnings # the library without the features that the tests turn on
	cargo clippy -p peerjs_server --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Runs corelane and its peers in alternating rounds, in 12 to 20 minutes on two cores. Writes target/bench/report.json,
# and the pages and plots with the results.
bench:
	scripts/bench.sh --write-docs

# Measures the cost of each culprit for other clients; writes docs/isolation.md. ROUNDS=3 gives a quick result.
ROUNDS ?= 7
isolation:
	scripts/isolation.sh --rounds $(ROUNDS)

loom:
	scripts/loom.sh models

loom-mutants:
	scripts/loom.sh mutants

# A longer run: every schedule with up to five preemptions.
loom-long:
	LOOM_MAX_PREEMPTIONS=5 scripts/loom.sh models

# Runs the simulator with more seeds: make simulator SEEDS=100000
SEEDS ?= 20000
simulator:
	CORELANE_SIMULATOR_SEEDS=$(SEEDS) cargo test --release --test simulator -- --nocapture

# Compares the envelope reader with the plain reader on more mutated messages: make envelope MESSAGES=1000000
MESSAGES ?= 10000000
envelope:
	CORELANE_ENVELOPE_MESSAGES=$(MESSAGES) cargo test --release --test envelope differential -- --nocapture

# The libraries for C, and their installation: `make lib`, then `sudo make install`, which compiles nothing
# (docs/packaging.md). Also honours LIBDIR and INCLUDEDIR. install-debug adds the debug information.
PREFIX ?= /usr/local
# FEATURES=nats: with clusters.
FEATURES ?=
lib:
	FEATURES='$(FEATURES)' scripts/lib.sh

install install-debug uninstall:
	@PREFIX='$(PREFIX)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' DESTDIR='$(DESTDIR)' scripts/install.sh $@

# Builds the library for C, and checks and tests the Go module in go/ (docs/go.md). Needs Go 1.23 or later: "go" of Debian 13,
# or of go.dev.
go:
	scripts/go.sh

# Installs what the full tests and the benchmark need: packages from Debian, cargo-fuzz and matchbox_server (a peer of
# the benchmark) from crates.io, nats-server (the tests of a cluster) from Go's module proxy, and the parser of OpenMetrics from
# PyPI, in a virtual environment below target/. Does not touch what is already installed.
deps:
	@missing=""; PATH="$$PATH:/usr/sbin"; \
	for pair in chromium:chromium strace:strace promtool:prometheus nginx:nginx-light valgrind:valgrind node:nodejs npm:npm openssl:openssl cc:build-essential cmake:cmake go:golang-go mvn:maven javac:openjdk-17-jdk-headless pkg-config:pkg-config; do \
		command -v $${pair%%:*} >/dev/null 2>&1 || missing="$$missing $${pair##*:}"; \
	done; \
	for pair in boost/lockfree/spsc_queue.hpp:libboost-dev readerwriterqueue/readerwriterqueue.h:libreaderwriterqueue-dev libwebsockets.h:libwebsockets-dev; do \
		[ -f "/usr/include/$${pair%%:*}" ] || missing="$$missing $${pair##*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
	@target/python/bin/python -c 'import prometheus_client' 2>/dev/null || { \
		{ python3 -c 'import ensurepip' 2>/dev/null || apt-get install -q -y --no-install-recommends python3-venv; } && \
		python3 -m venv target/python && target/python/bin/pip install -q prometheus_client==0.22.1; \
	}
	@command -v cargo-fuzz >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	@command -v matchbox_server >/dev/null 2>&1 || cargo install --locked --version 0.15.0 matchbox_server
	@PATH="$$PATH:$$(go env GOPATH)/bin"; command -v nats-server >/dev/null 2>&1 || go install github.com/nats-io/nats-server/v2@v2.15.3

deps-if-root:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then $(MAKE) --no-print-directory deps || true; fi
