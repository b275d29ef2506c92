#!/bin/sh
# Build the wheel that is tested and shipped into the directory $1: manylinux2014, stable ABI.
#
# Needs cargo and cc, and first on PATH a Python with requirements/build.txt installed. Zig links
# against an old glibc's symbols, so that the wheel runs on machines older than this one.
set -eu

out=$1
cd -- "$(dirname -- "$0")/.."

# Panic messages name source files. The wheel must not name this machine's directories.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/source"
export RUSTFLAGS

maturin build --release --locked --zig --compatibility manylinux2014 --out "$out"

for wheel in "$out"/teltonika_processor-*-cp311-abi3-manylinux2014_*.manylinux_2_17_*.whl; do
    if [ ! -f "$wheel" ]; then
        echo "$0: no portable stable-ABI wheel in $out: $(ls "$out")" >&2
        exit 1
    fi
done
