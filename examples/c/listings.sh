#!/usr/bin/env bash
# Compiles the C listings of docs/c.md, and runs those that are whole programs: `listings.sh LIBRARY` with corelane's
# archive. A listing without `main` is compiled as part of a file, or of a function that has the handles as parameters.
set -euo pipefail
library=$(realpath "$1")
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

awk -v folder="$work" '
    /^```c$/ { count++; inside = 1; next }
    /^```/ { inside = 0 }
    inside { print > sprintf("%s/%02d.listing", folder, count) }
' docs/c.md

prelude='#include <corelane.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
'
handles="corelane_router router, corelane_port port, corelane_client client, corelane_monitor monitor"
ran=0 compiled=0
for listing in "$work"/*.listing; do
    source=${listing%.listing}.c
    if grep -q '^int main(' "$listing"; then
        cp "$listing" "$source"
    elif grep -qE '^static ' "$listing"; then
        (echo "$prelude" && cat "$listing") >"$source"
    else
        (echo "$prelude void listing($handles);" && echo "void listing($handles) {" && cat "$listing" &&
            echo "(void)router, (void)port, (void)client, (void)monitor; }") >"$source"
    fi
    strict="-std=c11 -Wall -Wextra -Wpedantic -Werror -Wno-unused-function -Iinclude"
    if grep -q '^int main(' "$listing"; then
        # shellcheck disable=SC2086
        gcc $strict -fsanitize=address,undefined "$source" "$library" -lpthread -ldl -lm -o "$work/program"
        timeout 30 "$work/program" >/dev/null
        ran=$((ran + 1))
    else
        # shellcheck disable=SC2086
        gcc $strict -c "$source" -o "$work/part.o"
        compiled=$((compiled + 1))
    fi
done
echo "listings: $ran run, $compiled compiled"
[[ $ran -ge 1 && $compiled -ge 4 ]]
