#!/bin/sh
# Make the passwords of compose.yaml, and the addresses that hold them, in the directory $1.
#
#   scripts/secrets.sh [DIRECTORY]      default: secrets, beside compose.yaml
#
# What is there is kept: a password is also inside the server that was made with it. Compose mounts
# the files as they are, and each container reads them as its own user: so everybody may read the
# files, and only their owner may pass the directory.
set -eu

directory=${1:-$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)/secrets}
umask 077
mkdir -p "$directory"
cd -- "$directory"

password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

make() { # file, its line
    if [ -e "$1" ]; then
        echo "kept $directory/$1"
        return
    fi
    printf '%s\n' "$2" >"$1.new"
    chmod 0444 "$1.new"
    mv "$1.new" "$1"
    echo "made $directory/$1"
}

make redis_conf "requirepass $(password)"
# With its user: redis-cli sends an empty one otherwise, which Redis refuses.
make redis_url "redis://default:$(sed -n 's/^requirepass //p' redis_conf)@redis:6379/0"
make postgres_password "$(password)"
make database_url "postgresql://teltonika:$(cat postgres_password)@postgres:5432/teltonika"
make database_migration_url "$(cat database_url)"
make grafana_password "$(password)"
