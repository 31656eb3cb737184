#!/usr/bin/env bash
# Counts instructions per operation on the hot paths with valgrind and compares them with benches/instructions.txt.
# The counts do not depend on the load of the machine. Fails if a count exceeds its budget plus tolerance. `--update`
# writes the counts into the file.
set -uo pipefail
cd "$(dirname "$0")/.."

budget=benches/instructions.txt
update=${1:-}
tolerance=10 # percent, for new lines: allows for patch versions of the compiler

if ! command -v valgrind >/dev/null 2>&1; then
    echo "skipped: instructions (valgrind is missing: apt-get install valgrind)"
    [[ ${CORELANE_REQUIRE_ALL:-} != 1 ]]
    exit
fi

binary=$(cargo bench --no-run --bench instructions --features bench-internals --message-format=json 2>/dev/null |
    sed -n '/"name":"instructions"/s/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
if [[ ! -x $binary ]]; then
    echo "instructions: benches/instructions.rs does not build: cargo bench --no-run --bench instructions"
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

count() { # count NAME OPERATIONS: instructions of one run
    timeout 600 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        --collect-atstart=no --toggle-collect='*measured*' "$binary" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : *\([0-9]*\).*/\1/p'
}

measure() { # measure NAME OPERATIONS
    local few many
    few=$(count "$1" "$2")
    many=$(count "$1" $(($2 * 2)))
    [[ -n $few && -n $many ]] && echo $(((many - few + $2 / 2) / $2)) >"$folder/$1"
}

# Run two at a time. Counts do not depend on concurrent processes.
running=0
while read -r name operations; do
    measure "$name" "$operations" &
    running=$((running + 1))
    if ((running % 2 == 0)); then wait; fi
done < <("$binary")
wait

passed=0 failed=0 lines=()
while read -r name _; do
    counted=$(cat "$folder/$name" 2>/dev/null)
    read -r allowed percent < <(sed -n "s/^$name  *\([0-9]*\)  *\([0-9]*\)\$/\1 \2/p" "$budget" 2>/dev/null)
    lines+=("$(printf '%-26s %6s %3s' "$name" "${counted:-0}" "${percent:-$tolerance}")")
    if [[ -z $counted ]]; then
        echo "FAILED: $name did not run under valgrind"
        failed=$((failed + 1))
    elif [[ $update == --update ]]; then
        printf '%-26s %6d instructions (was %s)\n' "$name" "$counted" "${allowed:-new}"
        passed=$((passed + 1))
    elif [[ -z $allowed ]]; then
        echo "FAILED: $name has no line in $budget; add it with scripts/callgrind.sh --update"
        failed=$((failed + 1))
    elif ((counted * 100 > allowed * (100 + percent))); then
        echo "FAILED: $name takes $counted instructions, $(((counted - allowed) * 100 / allowed)) % more than the" \
            "$allowed of $budget (allowed: $percent %). Make it cheaper, or justify the cost and run" \
            "scripts/callgrind.sh --update"
        failed=$((failed + 1))
    else
        printf '%-26s %6d instructions (budget %d + %d %%)\n' "$name" "$counted" "$allowed" "$percent"
        passed=$((passed + 1))
    fi
done < <("$binary")

if [[ $update == --update && $failed == 0 ]]; then
    {
        echo "# Instructions per operation, x86-64, release build: name, instructions, tolerance in percent."
        echo "# Written by scripts/callgrind.sh --update, which keeps the tolerances."
        printf '%s\n' "${lines[@]}"
    } >"$budget"
fi
echo "instructions: $passed passed, $failed failed"
[[ $failed == 0 ]]
