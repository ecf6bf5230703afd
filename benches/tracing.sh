#!/usr/bin/env bash
# What statistics and traces cost: the CPU time of dpm for each point select on a private MariaDB, through a plain passthrough, through
# one with digests and metrics, through one that also traces a hundredth of the queries, and through one that traces all. They are asked
# in turn, so that what else the machine does hits them alike: what is compared is the median of the ratios of all rounds.
#
#   benches/tracing.sh [--dpm FILE] [ROUNDS [QUERIES]]    15 rounds of 20000 queries
#
# Installs MariaDB where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

dpm=
if [ "${1:-}" = --dpm ]; then
    dpm=$2
    shift 2
fi
rounds=${1:-15} queries=${2:-20000}

say "what is needed"
need_build_tools
need_mariadb
need mariadb-slap mariadb-client
need python3 python3

if [ -z "$dpm" ]; then
    say "building dpm"
    CARGO_TERM_PROGRESS_WHEN=never cargo build --release --bin dpm
    dpm=${CARGO_TARGET_DIR:-target}/release/dpm
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/dpm-tracing-XXXXXX")
pids=()
clean_up() {
    status=$?
    trap - EXIT
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# until_works WHAT COMMAND…: repeats the command until it succeeds, for 30 seconds at most.
until_works() {
    local what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 300 ]; then
            tail -n 20 "$work"/*.log >&2 || true
            fail "waited 30 seconds for $what"
        fi
        sleep 0.1
    done
}

# in_background NAME COMMAND…: its process ends with this script.
in_background() {
    setpriv --pdeathsig TERM "${@:2}" >"$work/$1.log" 2>&1 </dev/null &
    pids+=($!)
}

say "a private MariaDB in $work"
step "making its data folder" mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$work/data" \
    --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=48M ||
    fail "MariaDB could not make its data folder"
cat >"$work/accounts.sql" <<SQL
CREATE USER happy@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('wheefun');
CREATE DATABASE bench;
USE bench;
CREATE TABLE points (id INT PRIMARY KEY, c CHAR(80), k INT);
INSERT INTO points SELECT seq, 'a text of about sixty characters, as there are in many tables', seq FROM seq_1_to_1000;
GRANT ALL ON bench.* TO happy@'%';
SQL
port=$((RANDOM % 20000 + 20000))
in_background mariadb mariadbd --no-defaults --user="$(id -un)" --datadir="$work/data" --socket="$work/mariadb.sock" \
    --pid-file="$work/mariadb.pid" --port="$port" --bind-address=127.0.0.1 --skip-name-resolve --innodb-log-file-size=48M \
    --init-file="$work/accounts.sql"
client() { mariadb --no-defaults --protocol=tcp -h127.0.0.1 -P"$1" -uhappy -pwheefun "${@:2}"; }
until_works MariaDB client "$port" -e "SELECT COUNT(*) FROM bench.points"

in_background collector python3 -u benches/tracing/sink.py
until_works "the collector" grep -q . "$work/collector.log"
collector=$(head -n 1 "$work/collector.log")

names=(none counted some all)
declare -A ports proxies
for name in "${names[@]}"; do
    in_background "$name" "$dpm" --startfile benches/tracing/proxy.lua -- 127.0.0.1 "$port" "$collector" "$name"
    proxies[$name]=$!
    until_works "the proxy with $name" grep -q '^port' "$work/$name.log"
    ports[$name]=$(sed -n 's/^port //p' "$work/$name.log")
done

# ask NAME QUERIES: four clients that send so many queries.
ask() {
    mariadb-slap --no-defaults --protocol=tcp -h127.0.0.1 -P"${ports[$1]}" -uhappy -pwheefun --create-schema=bench \
        --no-drop --concurrency=4 --number-of-queries="$2" --silent \
        --query="SELECT c, k FROM bench.points WHERE id = 417" >/dev/null
}

ticks() { awk '{ print $14 + $15 }' "/proc/${proxies[$1]}/stat"; }

say "$rounds rounds of $queries queries"
for name in "${names[@]}"; do ask "$name" 2000; done
for ((round = 0; round < rounds; round++)); do
    for name in "${names[@]}"; do
        before=$(ticks "$name")
        ask "$name" "$queries"
        echo "$name $(($(ticks "$name") - before))" >>"$work/figures"
    done
done
sleep 2
for name in some all; do grep -h traces "$work/$name.log" | tail -n 1 | sed "s/^/   $name: /" || true; done
python3 benches/tracing/report.py "$work/figures" "$queries" "$(getconf CLK_TCK)"
