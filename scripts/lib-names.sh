# Names of the libraries for C; read by lib.sh and install.sh in the repository's root.

version=$(sed -n '/^\[workspace\.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
numbers=${version%%[-+]*}
# Each minor version of 0.x may break the ABI, so the soname contains it. From 1.0 on it is the major version alone.
abi=${numbers%%.*}
if [[ $abi == 0 ]]; then abi=${numbers%.*}; fi
library=libcorelane.so.$version
soname=libcorelane.so.$abi

target=${CARGO_TARGET_DIR:-target}
if [[ $target != /* ]]; then target=$PWD/$target; fi
built=$target/c
