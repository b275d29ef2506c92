#!/bin/sh
# Run the tests that need no servers on every Python newer than the oldest supported one.
#
# Found on PATH by name and only if it really runs; PYTHONS="/a/bin/python /b/bin/python" says which
# instead. Each gets an environment of its own in build/, with the wheel of dist/ installed.
set -eu

cd -- "$(dirname -- "$0")/.."

find_pythons() {
    for minor in 12 13 14; do
        python=$(command -v "python3.$minor") || continue
        "$python" -c 'import venv, ensurepip' 2>/dev/null && echo "$python"
    done
}

pythons=${PYTHONS:-$(find_pythons)}
[ -n "$pythons" ] || echo 'no Python newer than 3.11 on PATH; PYTHONS="/path/to/python ..." names them'

for python in $pythons; do
    environment=build/$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    echo "== $("$python" --version) in $environment"
    "$python" -m venv --clear "$environment"
    "$environment/bin/python" -m pip install --quiet --require-hashes -r requirements/test.txt
    "$environment/bin/python" -m pip install --quiet --no-index --no-deps dist/*.whl
    "$environment/bin/python" -m pytest -n "${WORKERS:-auto}" tests/unit tests/property
done
