#!/usr/bin/env bash
# Installs what scripts/lib.sh has built, or removes it again. Compiles nothing. The Makefile passes PREFIX, LIBDIR,
# INCLUDEDIR and DESTDIR.   install.sh install|install-debug|uninstall
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/lib-names.sh

prefix=${PREFIX:-/usr/local}
libdir=${LIBDIR:-$prefix/lib}
includedir=${INCLUDEDIR:-$prefix/include}
root=${DESTDIR:-}
for folder in "$prefix" "$libdir" "$includedir"; do
    if [[ $folder != /* || $folder == *[[:space:],\&\"]* ]]; then
        echo "install.sh: PREFIX, LIBDIR and INCLUDEDIR must be absolute paths without spaces, commas and quotes: $folder" >&2
        exit 2
    fi
done

check_built() {
    local found
    found=$(sed -n 's/^version=//p' "$built/built.txt" 2>/dev/null || true)
    if [[ $found != "$version" ]]; then
        echo "install.sh: corelane $version is not built in $built: run \`make lib\` first, as the user who compiles" >&2
        exit 1
    fi
}

# Folder $2 as the installed files name it: below variable $1, so that the tree can be moved.
under_prefix() {
    if [[ $2 == "$prefix"/* ]]; then echo "\${$1}/${2#"$prefix"/}"; else echo "$2"; fi
}

# The way up from folder $1 to the prefix. Nothing if the folder is elsewhere.
up_to_prefix() {
    if [[ $1 == "$prefix"/* ]]; then sed -E 's,[^/]+,..,g' <<<"${1#"$prefix"/}"; fi
}

# fill TEMPLATE FILE HERE PREFIX: HERE and PREFIX are the template's variables for the folder of FILE and for the prefix.
fill() {
    local up system
    system=$(sed -n 's/^system=//p' "$built/built.txt")
    up=$(up_to_prefix "${2%/*}")
    sed -e "s,@PREFIX@,$(if [[ -n $up ]]; then echo "\${$3}/$up"; else echo "$prefix"; fi)," \
        -e "s,@LIBDIR@,$(under_prefix "$4" "$libdir"),; s,@INCLUDEDIR@,$(under_prefix "$4" "$includedir")," \
        -e "s/@VERSION@/$version/; s/@NUMBERS@/$numbers/; s/@LIBRARY@/$library/; s/@SONAME@/$soname/" \
        -e "s/@SYSTEM@/$system/; s/@SYSTEM_LIST@/${system// /;}/" "packaging/$1" >"$root$2"
    chmod 644 "$root$2"
}

cache() {
    # Without this a program does not find the library before the next boot. Packages do it themselves.
    if [[ -z $root && $(id -u) == 0 ]] && command -v ldconfig >/dev/null; then ldconfig; fi
}

case ${1:-} in
install)
    check_built
    install -d "$root$libdir/pkgconfig" "$root$libdir/cmake/corelane" "$root$includedir"
    install -m 755 "$built/$library" "$root$libdir/$library"
    ln -sf "$library" "$root$libdir/$soname"
    ln -sf "$soname" "$root$libdir/libcorelane.so"
    install -m 644 "$built/libcorelane.a" "$root$libdir/libcorelane.a"
    install -m 644 include/corelane.h "$root$includedir/corelane.h"
    fill corelane.pc.in "$libdir/pkgconfig/corelane.pc" pcfiledir prefix
    fill corelaneConfig.cmake.in "$libdir/cmake/corelane/corelaneConfig.cmake" corelane_here corelane_prefix
    fill corelaneConfigVersion.cmake.in "$libdir/cmake/corelane/corelaneConfigVersion.cmake" corelane_here corelane_prefix
    cache
    ;;
install-debug)
    check_built
    install -d "$root$libdir/.debug"
    install -m 644 "$built/$library.debug" "$root$libdir/.debug/$library.debug"
    ;;
uninstall)
    rm -f "$root$libdir/$library" "$root$libdir/$soname" "$root$libdir/libcorelane.so" "$root$libdir/libcorelane.a" \
        "$root$libdir/.debug/$library.debug" "$root$libdir/pkgconfig/corelane.pc" "$root$includedir/corelane.h" \
        "$root$libdir/cmake/corelane/corelaneConfig.cmake" "$root$libdir/cmake/corelane/corelaneConfigVersion.cmake"
    rmdir "$root$libdir/cmake/corelane" "$root$libdir/.debug" 2>/dev/null || true
    cache
    ;;
*)
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
    ;;
esac
