#!/usr/bin/env bash
# Installs the libraries that scripts/lib.sh has built, as an ordinary user and without the sources; checks the files and
# their symbols; builds small C programs against them in each way that a host may link; removes everything again.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib-names.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checks=0

fail() {
    echo "install: $*" >&2
    exit 1
}

check() { # check WHAT COMMAND...
    local what=$1
    shift
    "$@" >"$work/output.txt" 2>&1 || { cat "$work/output.txt"; fail "$what"; }
    checks=$((checks + 1))
}

refused() { ! "$@"; }

optional() { # whether a tool is there; fails if all are required
    if command -v "$1" >/dev/null; then return 0; fi
    if [[ ${CORELANE_REQUIRE_ALL:-} == 1 ]]; then fail "$1 is missing: make deps"; fi
    echo "skipped: what needs $1"
    return 1
}

# What an installation may look at: no sources, no Rust. Root becomes another user.
tree=$work/tree
mkdir -p "$tree/target"
cp -r Makefile Cargo.toml scripts packaging include "$tree"
user=(env -i PATH=/usr/bin:/bin)
if [[ $(id -u) == 0 ]]; then user=(setpriv --reuid=65534 --regid=65534 --clear-groups "${user[@]}"); fi
make_in_tree() { "${user[@]}" make --no-print-directory -C "$tree" "$@"; }
chmod 755 "$work"
mkdir -m 777 "$work/a" "$work/b c"

check "installed although nothing was built" refused make_in_tree install DESTDIR="$work/a"
check "the failed installation left something" test -z "$(ls "$work/a")"
cp -r "$built" "$tree/target/c" || fail "run scripts/lib.sh first"
chmod -R go+rX "$tree"

# --- Files, in a layout of its own and in the default one.

listing() { (cd "$1" && find . ! -type d -printf '%P%l %m\n' | sed -E 's/^(.*) (.*)$/\2 \1/' | sort); }

expected() { # expected LIBDIR INCLUDEDIR
    sort <<END
644 $2/corelane.h
644 $1/cmake/corelane/corelaneConfig.cmake
644 $1/cmake/corelane/corelaneConfigVersion.cmake
644 $1/.debug/$library.debug
644 $1/libcorelane.a
644 $1/pkgconfig/corelane.pc
755 $1/$library
777 $1/$soname$library
777 $1/libcorelane.so$soname
END
}

other=(PREFIX=/usr LIBDIR=/usr/lib/multi/arch INCLUDEDIR=/opt/include DESTDIR="$work/b c")
check "install, other folders" make_in_tree install install-debug "${other[@]}"
check "files, other folders" diff <(expected usr/lib/multi/arch opt/include) <(listing "$work/b c")
check "the name of a folder outside PREFIX" grep -q '^includedir=/opt/include$' "$work/b c/usr/lib/multi/arch/pkgconfig/corelane.pc"
check "the way to PREFIX" grep -q '^prefix=${pcfiledir}/../../../..$' "$work/b c/usr/lib/multi/arch/pkgconfig/corelane.pc"
check "uninstall, other folders" make_in_tree uninstall "${other[@]}"
check "uninstall left files" test -z "$(find "$work/b c" ! -type d)"

check "install" make_in_tree install install-debug DESTDIR="$work/a"
check "install again" make_in_tree install DESTDIR="$work/a"
check "files" diff <(expected usr/local/lib usr/local/include) <(listing "$work/a")

lib=$work/a/usr/local/lib
include=$work/a/usr/local/include
dynamic=$(readelf -d "$lib/$library")
check "soname" grep -qF "Library soname: [$soname]" <<<"$dynamic"
check "stays mapped after dlclose" grep -q NODELETE <<<"$dynamic"
check "names its debug file" grep -qF "$library.debug" <(readelf -p .gnu_debuglink "$lib/$library")
check "debug file" grep -q debug_line <(readelf -S "$lib/.debug/$library.debug")
check "no debug information elsewhere" refused grep -q debug_line <(readelf -S "$lib/$library" "$lib/libcorelane.a" 2>&1)

system=$(sed -n 's/^Libs.private: //p' "$lib/pkgconfig/corelane.pc")
check "no system libraries" grep -q -- '-lpthread' <<<"$system"
check "CMake's system libraries" grep -qF "\"${system// /;}\"" "$lib/cmake/corelane/corelaneConfig.cmake"

# --- Symbols: corelane_* alone, all of them in the header, and nothing for tests.

names() { nm "$@" --defined-only | awk 'NF >= 3 { print $NF }' | sort; }
names -D "$lib/libcorelane.so" >"$work/shared.txt"
names -g "$lib/libcorelane.a" | grep -v -x -E '(DW\.ref\.)?corelane_internal_eh_personality' >"$work/archive.txt"
check "the shared library exports functions" test -s "$work/shared.txt"
check "other exports" refused grep -v '^corelane_' "$work/shared.txt"
check "archive and shared library export the same" diff "$work/shared.txt" "$work/archive.txt"
while read -r name; do
    # The calls about lanes are for Go: see src/ffi/lane.rs.
    check "$name is not in the header" grep -q "\b$name(" "$include/corelane.h" go/internal/c/corelane_lane.h
done <"$work/shared.txt"

# The limits that docs/packaging.md states.
size() { stat -c %s "$1"; }
check "the shared library has grown: $(size "$lib/$library") bytes" test "$(size "$lib/$library")" -lt 9500000
check "the archive has grown: $(size "$lib/libcorelane.a") bytes" test "$(size "$lib/libcorelane.a")" -lt 16500000

# --- Programs.

cat >"$work/program.c" <<END
#include <corelane.h>
#include <stdio.h>
#include <string.h>
#ifdef OTHER
int other_catches_a_panic(void);
#endif
int main(void) {
  unsigned a = 0, b = 0, c = 0;
  if (sscanf("$numbers", "%u.%u.%u", &a, &b, &c) != 3 || corelane_version() >> 8 != (a << 16 | b << 8 | c)) return 1;
  if (corelane_status_text(0) == NULL || strlen(corelane_status_text(0)) == 0) return 2;
#ifdef OTHER
  if (!other_catches_a_panic()) return 3;
#endif
  return 0;
}
END
cat >"$work/loads.c" <<END
#include <dlfcn.h>
#include <stdint.h>
#include <stddef.h>
int main(void) {
  for (int round = 0; round < 3; round++) {
    void *library = dlopen("$soname", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return 1;
    uint32_t (*version)(void) = (uint32_t (*)(void))dlsym(library, "corelane_version");
    if (version == NULL) return 2;
    uint32_t before = version();
    if (dlclose(library) != 0) return 3;
    /* The library stays mapped: its threads may still be running. */
    if (version() != before) return 4;
  }
  return 0;
}
END
cat >"$work/other.rs" <<'END'
#[unsafe(no_mangle)]
pub extern "C" fn other_catches_a_panic() -> i32 {
    std::panic::set_hook(Box::new(|_| {}));
    i32::from(std::panic::catch_unwind(|| panic!("{}", std::env::args().count())).is_err())
}
END
check "a second Rust archive" rustc --edition 2024 -O --crate-type staticlib -o "$work/libother.a" "$work/other.rs"

export LD_LIBRARY_PATH=$lib
strict=(gcc -std=c11 -Wall -Wextra -Werror -Wl,--fatal-warnings -I"$include")
built_number=0
builds() { # builds WHAT COMMAND...: the command builds $program, which then runs
    program=$work/program$((++built_number))
    check "build: $1" "${@:2}" -o "$program"
    check "run: $1" "$program"
}
needs() { readelf -d "$program" | grep "NEEDED.*\[$1\]"; }

if optional pkg-config; then
    export PKG_CONFIG_PATH=$lib/pkgconfig
    check "pkg-config's version" test "$(pkg-config --modversion corelane)" = "$version"
    builds "pkg-config" gcc "$work/program.c" $(pkg-config --cflags --libs corelane)
    check "shared" needs "$soname"
    builds "pkg-config --static" gcc -static "$work/program.c" $(pkg-config --static --cflags --libs corelane)
    check "static" refused needs libc.so.6
    builds "pkg-config, the archive in a dynamic program" gcc "$work/program.c" \
        $(pkg-config --static --cflags --libs corelane | sed 's/-lcorelane/-l:libcorelane.a/')
    check "the archive" refused needs "$soname"
fi

archive=("$work/program.c" "$lib/libcorelane.a" $system)
builds "-static" gcc -I"$include" -static "${archive[@]}"
builds "-static-pie" gcc -I"$include" -static-pie "${archive[@]}"
builds "not position-independent" "${strict[@]}" -no-pie "${archive[@]}"
builds "position-independent" "${strict[@]}" -fPIE -pie "${archive[@]}"
builds "--gc-sections" "${strict[@]}" -Wl,--gc-sections "${archive[@]}"
builds "-rdynamic" "${strict[@]}" -rdynamic "${archive[@]}"
check "-rdynamic exports Rust's symbols" refused grep -E '^(_ZN|_R|rust_|__rust|mem|__[a-z]+[sdt]i)' <(names -D "$program")
builds "dlopen" gcc -std=c11 -Wall -Wextra -Werror "$work/loads.c" -ldl

for way in -pie -no-pie -static -Wl,--gc-sections -rdynamic; do
    builds "before another Rust archive, $way" gcc -I"$include" -DOTHER "$way" "$work/program.c" \
        "$lib/libcorelane.a" "$work/libother.a" $system
    builds "after another Rust archive, $way" gcc -I"$include" -DOTHER "$way" "$work/program.c" \
        "$work/libother.a" "$lib/libcorelane.a" $system
done
builds "shared, with another Rust archive" gcc -I"$include" -DOTHER "$work/program.c" "$work/libother.a" -L"$lib" -lcorelane $system

if optional cmake; then
    mkdir "$work/cmake"
    cat >"$work/cmake/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.13)
project(hosts C)
find_package(corelane \${WANTED} REQUIRED)
find_package(corelane REQUIRED)
add_executable(shared ../program.c)
target_link_libraries(shared PRIVATE corelane::corelane)
add_executable(static ../program.c)
target_link_libraries(static PRIVATE corelane::corelane-static)
END
    configure() { cmake -S "$work/cmake" -B "$work/cmake/$1" -DCMAKE_PREFIX_PATH="$work/a/usr/local" -DWANTED="$1"; }
    check "CMake" configure "${numbers%.*}"
    check "CMake's build" cmake --build "$work/cmake/${numbers%.*}"
    for program in "$work/cmake/${numbers%.*}"/{shared,static}; do check "run: CMake, ${program##*/}" "$program"; done
    check "the archive, by CMake" refused needs "$soname"
    program=${program%/*}/shared
    check "shared, by CMake" needs "$soname"
    check "exact version" configure "$numbers"
    check "a version that breaks the ABI" refused configure "${numbers%%.*}.999"
    check "a later version" refused configure "$numbers.1"
fi

check "uninstall" make_in_tree uninstall DESTDIR="$work/a"
check "uninstall left files" test -z "$(find "$work/a" ! -type d)"
check "uninstall left its folders" test -z "$(find "$work/a" -name corelane -o -name .debug)"
echo "install: $checks checks passed"
