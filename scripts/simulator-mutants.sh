#!/usr/bin/env bash
# Plants each weakening of simulator-mutants.txt in turn and expects a simulator to find a failing seed. A line names
# the simulator before the weakening; the default is `simulator`.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="--cfg corelane_mutants"
target=target/mutants
declare -A built
for binary in simulator chaos lane_simulator cluster_simulator; do
    built[$binary]=$(cargo test --quiet --test $binary --profile model --target-dir $target --no-run --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
done
# The part of cluster_simulator with the machines of src/cluster is `shipped`.
built[shipped]=$(cargo test --quiet --features nats --test cluster_simulator --profile model --target-dir $target --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
CORELANE_SIMULATOR_SEEDS=2000 "${built[shipped]}" shipped >/dev/null ||
    { echo "FAILED: cluster_simulator fails without a weakening"; exit 1; }
export RUST_BACKTRACE=0
# First run both without a weakening, with as many seeds as a run of all tests has time for.
for binary in simulator chaos lane_simulator cluster_simulator; do
    CORELANE_SIMULATOR_SEEDS=${SEEDS:-10000} CORELANE_CHAOS_SEEDS=${SEEDS:-10000} "${built[$binary]}" >/dev/null ||
        { echo "FAILED: $binary fails without a weakening"; exit 1; }
done
failed=0 passed=0
while read -r binary mutant; do
    [[ -z $binary || $binary == \#* ]] && continue
    [[ -z $mutant ]] && mutant=$binary binary=simulator
    only=()
    if [[ $binary == shipped ]]; then only=(shipped); fi
    # A rare weakening needs more seeds than the default.
    CORELANE_SIMULATOR_SEEDS=11000 CORELANE_MUTANT=$mutant "${built[$binary]}" "${only[@]}" >$target/output.txt 2>&1 || true
    if grep -q "failing seed" $target/output.txt; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $binary does not detect $mutant"
    fi
done <scripts/simulator-mutants.txt
echo "simulator mutants: $passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
