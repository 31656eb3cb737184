#!/usr/bin/env bash
# Plants each weakening of simulator-mutants.txt in turn and expects a simulator to find a failing seed. A line names
# the simulator before the weakening; the default is `simulator`. `simulator-mutants.sh MUTANT...` plants only these, and
# only builds and runs their simulators; SEEDS is how many seeds run without a weakening.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="--cfg corelane_mutants"
target=target/mutants
export RUST_BACKTRACE=0
# The lines to plant: SIMULATOR MUTANT.
plant=()
while read -r binary mutant; do
    [[ -z $binary || $binary == \#* ]] && continue
    [[ -z $mutant ]] && mutant=$binary binary=simulator
    if [[ $# == 0 || " $* " == *" $mutant "* ]]; then plant+=("$binary $mutant"); fi
done <scripts/simulator-mutants.txt
declare -A built
# First each without a weakening, with as many seeds as a run of all tests has time for.
for binary in $(printf '%s\n' "${plant[@]}" | cut -d' ' -f1 | sort -u); do
    test=$binary features=() only=()
    # The part of cluster_simulator with the machines of src/cluster.
    if [[ $binary == shipped ]]; then test=cluster_simulator features=(--features nats) only=(shipped); fi
    built[$binary]=$(cargo test --quiet "${features[@]}" --test $test --profile model --target-dir $target --no-run --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
    CORELANE_SIMULATOR_SEEDS=${SEEDS:-10000} CORELANE_CHAOS_SEEDS=${SEEDS:-10000} "${built[$binary]}" "${only[@]}" >/dev/null ||
        { echo "FAILED: $binary fails without a weakening"; exit 1; }
done
failed=0 passed=0
for line in "${plant[@]}"; do
    read -r binary mutant <<<"$line"
    only=()
    if [[ $binary == shipped ]]; then only=(shipped); fi
    # A rare weakening needs more seeds than the default.
    CORELANE_SIMULATOR_SEEDS=11000 CORELANE_CHAOS_SEEDS=11000 CORELANE_MUTANT=$mutant "${built[$binary]}" "${only[@]}" >$target/output.txt 2>&1 || true
    if grep -q "failing seed" $target/output.txt; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $binary does not detect $mutant"
    fi
done
echo "simulator mutants: $passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
