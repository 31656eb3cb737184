#!/usr/bin/env bash
# Plants each weakening of simulator-mutants.txt in turn and expects the simulator to find a failing seed.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="--cfg corelane_mutants"
built=$(cargo test --quiet --test simulator --profile model --target-dir target/mutants --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
export RUST_BACKTRACE=0
# Without one: as many seeds as a run of all tests has time for.
CORELANE_SIMULATOR_SEEDS=${SEEDS:-10000} "$built" >/dev/null || { echo "FAILED: the simulator fails without a weakening"; exit 1; }
failed=0 passed=0
while read -r mutant; do
    [[ -z $mutant || $mutant == \#* ]] && continue
    CORELANE_MUTANT=$mutant "$built" >target/mutants/output.txt 2>&1 || true
    if grep -q "failing seed" target/mutants/output.txt; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: the simulator does not see $mutant"
    fi
done <scripts/simulator-mutants.txt
echo "simulator mutants: $passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
