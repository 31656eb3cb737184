"""Compares include/corelane.h with what the C programs have seen (scripts/ffi.sh runs it).

`coverage.py FILE`: FILE has a line "FUNCTION STATUS" for each pair that a program has seen. Every function must be called,
must return each status that its documentation lists at least once, and must return no other. Exceptions have a reason each,
and an exception that is not needed any more is a failure.
"""

import os
import sys

import header

# What no test can produce.
EXCEPTIONS = {
    # A worker must be reading the room's old member lists at that moment: src/models/rooms.rs.
    ("corelane_port_leave", "CORELANE_LIMIT"),
}

if not os.environ.get("NATS_SERVER"):
    CLAIMS = ("EXISTS", "FENCED", "BUSY", "TIMEOUT", "CLOSED", "INVALID")
    EXCEPTIONS |= {("corelane_cluster_claim", f"CORELANE_{status}") for status in CLAIMS}


def main(path):
    api = header.Header()
    number_of = api.status_names
    name_of = {number: name for name, number in number_of.items()}
    seen = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, number = line.split()
            seen.setdefault(name, set()).add(name_of[int(number)])
    missing, undocumented, stale, pairs = [], [], [], 0
    for function in api.functions:
        reached = seen.get(function.name, set())
        excepted = {status for name, status in EXCEPTIONS if name in ("*", function.name)}
        if not reached:
            missing.append(f"{function.name}: never called")
            continue
        pairs += len(reached)
        lost = function.statuses - reached - excepted
        if lost:
            missing.append(f"{function.name}: {', '.join(sorted(lost))}")
        stale += [f"{function.name}: {status}" for name, status in EXCEPTIONS if name == function.name and status in reached]
        # Every call can return these two; the header's introduction says so.
        extra = reached - function.statuses - {"CORELANE_OK", "CORELANE_FORKED", "CORELANE_PANIC"}
        if extra:
            undocumented.append(f"{function.name}: {', '.join(sorted(extra))}")
        if function.returns == "int32_t" and "CORELANE_FORKED" not in reached:
            missing.append(f"{function.name}: CORELANE_FORKED")
        if "CORELANE_OK" not in reached:
            missing.append(f"{function.name}: never succeeded")
    for title, lines in (
        ("not produced by any C test", missing),
        ("returned, but not documented", undocumented),
        ("exceptions that are not needed any more", stale),
    ):
        if lines:
            print(f"{title}:")
            print("".join(f"  {line}\n" for line in lines), end="")
    called = sum(one.name in seen for one in api.functions)
    print(f"coverage: {called} of {len(api.functions)} functions, {pairs} pairs of function and status")
    return 1 if stale or undocumented or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
