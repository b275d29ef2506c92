#!/bin/sh
# The steps of the Dockerfile, in a script so that a test can run them without a container engine.
#
#   docker/build.sh wheel DIRECTORY             build the wheel of this source tree into DIRECTORY
#   docker/build.sh install PREFIX DIRECTORY    make PREFIX a virtual environment that holds the
#                                               pinned packages and the wheel of DIRECTORY, no more
set -eu

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

# The steps' own pip and maturin, which the image does not hold.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools"
pip() { "$tools/bin/python" -m pip "$@"; }

build_wheel() { # directory
    pip install --quiet --require-hashes -r "$source/requirements/build.txt"
    PATH="$tools/bin:$PATH" "$source/scripts/wheel.sh" "$1"
}

install_wheel() { # prefix, directory
    python3 -m venv --without-pip "$1"
    pip --python "$1/bin/python" install --quiet --require-hashes --only-binary :all: \
        -r "$source/requirements/runtime.txt"
    pip --python "$1/bin/python" install --quiet --no-index --no-deps "$2"/*.whl
}

case ${1:-} in
wheel) build_wheel "$2" ;;
install) install_wheel "$2" "$3" ;;
*)
    echo "usage: $0 wheel DIRECTORY | install PREFIX DIRECTORY" >&2
    exit 64
    ;;
esac
