#!/bin/sh
# Name everything that is missing to build, test and check this project, each with the command
# that installs it. Exit 0 if nothing is.
#
#   scripts/prerequisites.sh               what `make demo` and `make test` need
#   scripts/prerequisites.sh check         what `make check` needs as well
#   scripts/prerequisites.sh old-servers   the servers of `make test-old`
#   scripts/prerequisites.sh system        what `make test-system` needs: PgBouncer, which root gets
#                                          installed, and promtool, which is put into build/
set -u
cd "$(dirname "$0")/.." || exit

PYTHON=${PYTHON:-python3}
RUSTUP="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
missing=0

report() { # what, how to install it
    printf 'missing: %s\n    %s\n' "$1" "$2" >&2
    missing=1
}

check_python() {
    if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        report "Python 3.11 or later as $PYTHON (or: make PYTHON=python3.12 ...)" \
            'sudo apt-get install python3 python3-venv'
    elif ! "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
        report "the venv module of $PYTHON" 'sudo apt-get install python3-venv'
    fi
}

check_compiler() {
    command -v cc >/dev/null || report 'a C compiler as cc (Rust links with it)' \
        'sudo apt-get install gcc libc6-dev'
}

check_rust() {
    version=$(cargo --version 2>/dev/null | cut -d' ' -f2)
    major=${version%%.*}
    minor=${version#*.}
    minor=${minor%%.*}
    if [ -z "$version" ]; then
        report 'cargo, Rust 1.89 or later (Debian 12 has 1.63)' "$RUSTUP"
    elif [ "$major" -eq 1 ] && [ "$minor" -lt 89 ]; then
        report "Rust 1.89 or later, found $version" "rustup update stable   # without rustup: $RUSTUP"
    fi
}

check_rust_component() { # cargo subcommand, rustup component
    cargo "$1" --version >/dev/null 2>&1 || report "cargo $1" "rustup component add $2"
}

check_old_servers() {
    command -v redis-server >/dev/null || report 'redis-server' 'sudo apt-get install redis-server'
    [ -x /usr/lib/postgresql/15/bin/postgres ] || report 'PostgreSQL 15' \
        'sudo apt-get install postgresql-15'
}

install_pgbouncer() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends pgbouncer >/dev/null
}

check_pgbouncer() {
    [ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null && return
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo 'Installing pgbouncer ...'
        install_pgbouncer || { apt-get -qq update && install_pgbouncer; } && return
    fi
    report 'pgbouncer' 'sudo apt-get install pgbouncer'
}

# Out of Debian's package into build/: installed, it would start a server on port 9090.
fetch_promtool() (
    mkdir -p build/prometheus && cd build/prometheus || exit
    apt-get -qq download prometheus 2>/dev/null &&
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/promtool &&
        mv promtool .. && rm prometheus_*.deb && rmdir "$PWD"
)

check_promtool() {
    command -v promtool >/dev/null || [ -x build/promtool ] && return
    if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then
        echo 'Fetching promtool ...'
        fetch_promtool && return
        [ "$(id -u)" -eq 0 ] && apt-get -qq update && fetch_promtool && return
    fi
    report "promtool, of Debian's package prometheus" 'sudo apt-get install prometheus'
}

case ${1:-build} in
build)
    check_python
    check_compiler
    check_rust
    ;;
check)
    check_rust
    check_rust_component fmt rustfmt
    check_rust_component clippy clippy
    ;;
old-servers) check_old_servers ;;
system)
    check_pgbouncer
    check_promtool
    ;;
*)
    echo "usage: $0 [check | old-servers | system]" >&2
    exit 64
    ;;
esac
exit $missing
