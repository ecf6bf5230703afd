#!/usr/bin/env bash
# From nothing to a query through dpm: installs what is missing, builds the release binary, starts a
# private MariaDB in a temporary folder and dpm with demos/direct.lua in front of it, and runs a query
# that the script rewrites. Then both keep running for you to try, until Ctrl-C; with --once the script
# ends, and its status says whether everything worked. Only what was installed and built remains.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

once=no
case "${1:-}" in
    "") ;;
    --once) once=yes ;;
    *) fail "usage: demos/quickstart.sh [--once]" ;;
esac

say "what is needed"
need_build_tools
need_mariadb

say "building dpm"
CARGO_TERM_PROGRESS_WHEN=never cargo build --release --bin dpm
dpm=${CARGO_TARGET_DIR:-target}/release/dpm

work=$(mktemp -d "${TMPDIR:-/tmp}/dpm-quickstart-XXXXXX")
server_pid='' dpm_pid=''
clean_up() {
    status=$?
    trap - EXIT
    [ -z "$dpm_pid" ] || kill "$dpm_pid" 2>/dev/null || true
    [ -z "$server_pid" ] || kill "$server_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 0' INT TERM

# A free port.
free_port() {
    local port
    while :; do
        port=$((RANDOM % 20000 + 20000))
        if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# wait_for WHAT PID COMMAND…: until the command succeeds, for a limited time and while the process runs.
wait_for() {
    local what=$1 pid=$2 tries=0
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ] || ! kill -0 "$pid" 2>/dev/null; then
            tail -n 20 "$work"/*.log >&2 || true
            fail "$what did not start"
        fi
        sleep 0.1
    done
}

say "a private MariaDB in $work"
step "making its data folder" mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$work/data" \
    --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=16M ||
    fail "MariaDB could not make its data folder"
cat >"$work/accounts.sql" <<SQL
CREATE USER happy@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('wheefun');
CREATE DATABASE test;
GRANT ALL ON test.* TO happy@'%';
SQL
server_port=$(free_port)
setpriv --pdeathsig TERM mariadbd --no-defaults --user="$(id -un)" --datadir="$work/data" \
    --socket="$work/mariadb.sock" --pid-file="$work/mariadb.pid" --port="$server_port" \
    --bind-address=127.0.0.1 --skip-name-resolve --innodb-log-file-size=16M \
    --init-file="$work/accounts.sql" >"$work/mariadb.log" 2>&1 </dev/null &
server_pid=$!
client() { mariadb --no-defaults --protocol=tcp -h127.0.0.1 -P"$1" -uhappy -pwheefun "${@:2}"; }
wait_for MariaDB "$server_pid" client "$server_port" -e "SELECT 1"
note "it listens on port $server_port"

say "dpm before it, with demos/direct.lua"
dpm_port=5500
if (: <"/dev/tcp/127.0.0.1/$dpm_port") 2>/dev/null; then dpm_port=$(free_port); fi
setpriv --pdeathsig TERM "$dpm" --startfile demos/direct.lua -- 127.0.0.1 "$server_port" "$dpm_port" \
    >"$work/dpm.log" 2>&1 </dev/null &
dpm_pid=$!
wait_for dpm "$dpm_pid" client "$dpm_port" -e "SELECT 1"
sed 's/^/   | /' "$work/dpm.log"

say "a query through it"
# shellcheck disable=SC2016
note '$ mariadb -e "SELECT version(), current_user()"'
client "$dpm_port" --table -e "SELECT version(), current_user()"
say "HELLO, which the server does not know and the script rewrites to SELECT 1 + 1"
# shellcheck disable=SC2016
note '$ mariadb -e HELLO'
client "$dpm_port" --table -e HELLO
answer=$(client "$dpm_port" -N -B -e HELLO)
[ "$answer" = 2 ] || fail "HELLO should have given 2, it gave '$answer'"

if [ "$once" = yes ]; then
    say "all well"
    exit 0
fi

say "it is yours"
note "connect:   mariadb --protocol=tcp -h127.0.0.1 -P$dpm_port -uhappy -pwheefun test"
note "the script: demos/direct.lua; other ones lie beside it"
note "Ctrl-C ends everything and cleans up."
wait "$dpm_pid"
