#!/bin/sh
# Pin what pyproject.toml allows, with hashes, for every supported Python: names, versions and
# hashes only, so that the files serve whatever package index a machine is set up for.
set -eu

UV=${UV:-uv}
cd -- "$(dirname -- "$0")/.."

pin() { # output, options...
    output=$1
    shift
    "$UV" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
        --no-annotate --no-emit-index-url --no-emit-find-links "$@" --output-file "$output"
}

everything='--extra demo --group build --group check --group test pyproject.toml'
# shellcheck disable=SC2086 # a list of words
pin requirements/dev.txt --upgrade $everything
pin requirements/test.txt --extra demo --group test --constraints requirements/dev.txt pyproject.toml
pin requirements/build.txt --group build --constraints requirements/dev.txt
pin requirements/image.txt --group image
pin requirements/runtime.txt --constraints requirements/dev.txt pyproject.toml
