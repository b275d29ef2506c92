#!/bin/sh
# The steps of the Dockerfile, in a script so that a test can run them without a container engine.
#
#   docker/build.sh wheel DIRECTORY             build the wheel of this source tree into DIRECTORY
#   docker/build.sh install PREFIX DIRECTORY    make PREFIX a virtual environment that holds the
#                                               pinned packages, an init and the wheel of DIRECTORY,
#                                               no more
#   docker/build.sh state DIRECTORY             make in DIRECTORY what the service may write to
set -eu

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

make_tools() { # the steps' own pip and maturin, which the image does not hold
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    python3 -m venv "$tools"
}

pip() { "$tools/bin/python" -m pip "$@"; }

build_wheel() { # directory
    make_tools
    pip install --quiet --require-hashes -r "$source/requirements/build.txt"
    PATH="$tools/bin:$PATH" "$source/scripts/wheel.sh" "$1"
}

install_wheel() { # prefix, directory
    make_tools
    python3 -m venv --without-pip "$1"
    pip --python "$1/bin/python" install --quiet --no-compile --require-hashes --only-binary :all: \
        -r "$source/requirements/runtime.txt" -r "$source/requirements/image.txt"
    pip --python "$1/bin/python" install --quiet --no-compile --no-index --no-deps "$2"/*.whl
    # Nobody changes the image's files, so none is looked at before its bytecode is used.
    "$1/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$1/lib"
}

make_state() { # directory
    install -d -m 0755 "$1/teltonika-processor"
    install -d -m 0700 "$1/teltonika-processor/panic-dumps"
}

case ${1:-} in
wheel) build_wheel "$2" ;;
install) install_wheel "$2" "$3" ;;
state) make_state "$2" ;;
*)
    echo "usage: $0 wheel DIRECTORY | install PREFIX DIRECTORY | state DIRECTORY" >&2
    exit 64
    ;;
esac
