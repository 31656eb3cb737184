#!/usr/bin/env bash
# Builds the libraries for C into target/c: the shared one, its debug information, and the archive. `make install`
# copies them. Both export only corelane_*; the script fails otherwise. For Linux, with GNU binutils.
# FEATURES=nats builds them with clusters.
#
# The options of the link stand here and not in a build script, because Rust users would have to compile and run that,
# and Cargo warns about linker options for a cdylib in a package that declares none.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib-names.sh

if [[ $(uname -s) != Linux ]]; then
    echo "lib.sh: builds libraries for Linux only" >&2
    exit 1
fi
for tool in ld ar nm objcopy strip; do
    command -v "$tool" >/dev/null || { echo "lib.sh: $tool is missing: install binutils" >&2; exit 1; }
done

start=$SECONDS
work=$target/c-library/c
rm -rf "$work" "$built"
mkdir -p "$work" "$built"

# nodelete: the library's threads, and the destructors of thread-local values, outlive dlclose.
cargo rustc --color never --profile c-library --lib --no-default-features --features "http,elasticsearch,otlp${FEATURES:+,$FEATURES}" --crate-type staticlib,cdylib -- \
    --print native-static-libs \
    -C link-arg=-Wl,-soname,"$soname" -C link-arg=-Wl,-z,nodelete -C link-arg=-Wl,-z,defs 2>&1 | tee "$work/cargo.txt"
compiled=$target/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}c-library
seconds=$((SECONDS - start))

# What a program needs besides the archive. Every C compiler adds its own -lgcc… and -lc, and a static program must not
# name -lgcc_s, which exists only as a shared library.
system=$(sed -n 's/^note: native-static-libs: //p' "$work/cargo.txt" | tail -n 1 | tr -s ' ' '\n' |
    grep -v -x -E -e '-l(gcc.*|c)' | paste -s -d ' ' || true)

# The shared library. Its debug information goes to a file of its own, which debuggers find by name and checksum.
(
    cd "$work"
    cp "$compiled/libcorelane.so" "$library"
    objcopy --only-keep-debug "$library" "$library.debug"
    chmod 644 "$library.debug"
    strip --strip-unneeded "$library"
    objcopy --add-gnu-debuglink="$library.debug" "$library"
)

# The archive: one object whose other symbols are local, so that it links next to any other Rust archive. The linker
# keeps one copy of each DW.ref.NAME of all inputs; under Rust's common name it might keep a local one, and then no
# position-independent program links. So the personality gets a name of ours. The embedded bitcode crashes `ar`.
ld -r --whole-archive "$compiled/libcorelane.a" -o "$work/whole.o"
objcopy --redefine-sym rust_eh_personality=corelane_internal_eh_personality \
    --redefine-sym DW.ref.rust_eh_personality=DW.ref.corelane_internal_eh_personality "$work/whole.o"
objcopy --wildcard --keep-global-symbol='corelane_*' --keep-global-symbol='DW.ref.corelane_*' \
    --remove-section .llvmbc --remove-section .llvmcmd "$work/whole.o" "$work/corelane.o"
strip -g "$work/corelane.o"
ar crsD "$work/libcorelane.a" "$work/corelane.o"

shared_names=$(nm -D --defined-only "$work/$library" | awk '{ print $NF }' | sort)
archive_names=$(nm -g --defined-only "$work/corelane.o" | awk '{ print $NF }' |
    grep -v -E '^(DW\.ref\.)?corelane_internal_eh_personality$' | sort)
if grep -v '^corelane_' <<<"$shared_names" || [[ $shared_names != "$archive_names" ]]; then
    echo "lib.sh: not the same corelane_* symbols, or others, are exported:" >&2
    diff <(echo "$shared_names") <(echo "$archive_names") >&2 || true
    exit 1
fi

# Written last: `make install` takes a folder without it for not built.
mv "$work/$library" "$work/$library.debug" "$work/libcorelane.a" "$built"
printf 'version=%s\nsystem=%s\n' "$version" "$system" >"$built/built.txt"
rm -rf "$work"

echo "built in $built, compiled in $seconds s; $(wc -l <<<"$shared_names") functions; a static program also needs: $system"
(cd "$built" && wc -c "$library" "$library.debug" libcorelane.a | sed '$d')
