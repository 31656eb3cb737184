#!/usr/bin/env bash
# Runs the loom models, each in a separate process because some failures abort. `loom.sh models` expects every model
# to pass. `loom.sh mutants` plants each weakening of loom-mutants.txt in turn and expects its model to fail. A higher
# LOOM_MAX_PREEMPTIONS (default 3) explores more schedules.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="--cfg corelane_loom --cfg corelane_mutants"
built=$(cargo test --quiet --lib --profile model --target-dir target/loom --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
export RUST_BACKTRACE=0
failed=0 passed=0

run() { # run MODEL MUTANT
    # A subshell keeps the shell's message about an abort out of the output.
    (CORELANE_MUTANT=$2 timeout 1800 "$built" --exact "models::$1" >target/loom/output.txt 2>&1) 2>/dev/null
}

case ${1:-models} in
models)
    for model in $("$built" --list | sed -n 's/^models::\(.*\): test$/\1/p'); do
        if run "$model" ""; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAILED: model $model"
            tail -30 target/loom/output.txt
        fi
    done
    ;;
mutants)
    while read -r model mutant; do
        [[ -z $model || $model == \#* ]] && continue
        if run "$model" "$mutant"; then
            failed=$((failed + 1))
            echo "FAILED: model $model passes although $mutant is planted"
        elif grep -q "running 1 test" target/loom/output.txt; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAILED: model $model did not run"
        fi
    done <scripts/loom-mutants.txt 2>/dev/null # bash prints a message for each abort
    ;;
*)
    echo "usage: loom.sh models|mutants" >&2
    exit 2
    ;;
esac
echo "loom ${1:-models}: $passed passed, $failed failed"
[[ $failed == 0 && $passed -gt 0 ]]
