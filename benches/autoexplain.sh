#!/usr/bin/env bash
# What auto-explain costs statements that it does not explain: sysbench's point selects on a private
# MariaDB, in turn directly, through a plain passthrough, and through one with auto-explain. Then a table
# is scanned through the latter, which must be reported once. Fails if it is not, or if auto-explain adds
# more than a tenth to the passthrough's latency.
#
#   benches/autoexplain.sh [ROUNDS [SECONDS [THREADS]]]    15 rounds, of 2 seconds each, with 1 thread
#
# Installs MariaDB and sysbench where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

rounds=${1:-15} seconds=${2:-2} threads=${3:-1}

say "what is needed"
need_build_tools
need_mariadb
need sysbench sysbench
need awk gawk

say "building dpm"
CARGO_TERM_PROGRESS_WHEN=never cargo build --release --bin dpm
dpm=${CARGO_TARGET_DIR:-target}/release/dpm

work=$(mktemp -d "${TMPDIR:-/tmp}/dpm-autoexplain-XXXXXX")
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

say "a private MariaDB in $work"
step "making its data folder" mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$work/data" \
    --auth-root-authentication-method=normal --skip-test-db --innodb-log-file-size=48M ||
    fail "MariaDB could not make its data folder"
cat >"$work/accounts.sql" <<SQL
CREATE USER happy@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('wheefun');
CREATE DATABASE sbtest;
GRANT ALL ON sbtest.* TO happy@'%';
SQL
port=$((RANDOM % 20000 + 20000))
setpriv --pdeathsig TERM mariadbd --no-defaults --user="$(id -un)" --datadir="$work/data" \
    --socket="$work/mariadb.sock" --pid-file="$work/mariadb.pid" --port="$port" \
    --bind-address=127.0.0.1 --skip-name-resolve --innodb-log-file-size=48M \
    --init-file="$work/accounts.sql" >"$work/mariadb.log" 2>&1 </dev/null &
server_pid=$!
client() { mariadb --no-defaults --protocol=tcp -h127.0.0.1 -P"$1" -uhappy -pwheefun "${@:2}"; }
until_works MariaDB client "$port" -e "SELECT 1"

setpriv --pdeathsig TERM "$dpm" --startfile benches/autoexplain.lua -- 127.0.0.1 "$port" happy wheefun \
    >"$work/dpm.log" 2>&1 </dev/null &
dpm_pid=$!
until_works dpm grep -q '^explained ' "$work/dpm.log"
plain=$(awk '$1 == "plain" { print $2 }' "$work/dpm.log")
explained=$(awk '$1 == "explained" { print $2 }' "$work/dpm.log")

load() {
    sysbench oltp_point_select --db-driver=mysql --mysql-host=127.0.0.1 --mysql-user=happy \
        --mysql-password=wheefun --mysql-db=sbtest --tables=1 --table-size=100000 "$@"
}
step "filling sysbench's table" load --mysql-port="$port" prepare || fail "sysbench could not fill its table"

# measure NAME PORT PS-MODE: one line, "NAME PS-MODE average p95 queries-per-second".
measure() {
    load --mysql-port="$2" --threads="$threads" --time="$seconds" --db-ps-mode="$3" --histogram run >"$work/run" 2>&1 ||
        { cat "$work/run"; fail "sysbench failed on $1"; }
    awk -v name="$1" -v mode="$3" -v threads="$threads" '
        /^ *value  -+/ { inside = 1; next }
        # sysbench rounds the average to 10 µs; computed from the number of queries it is more precise.
        /total time:/ { sub("s", "", $3); time = $3 }
        /total number of events:/ { events = $5 }
        /95th percentile:/ { p95 = $3 }
        inside && NF < 2 { inside = 0 }
        inside { latency[++bins] = $1; count[bins] = $NF; total += $NF }
        END {
            for (i = 1; i <= bins && sum < 0.95 * total; i++) { sum += count[i]; p95 = latency[i] }
            printf "%s %s %.4f %s %.0f\n", name, mode, time * threads * 1000 / events, p95, events / time
        }' "$work/run" >>"$work/results"
}

say "point selects: $rounds rounds of $seconds s, $threads thread(s)"
for ((round = 1; round <= rounds; round++)); do
    note "round $round"
    for mode in auto disable; do
        # Each round has a different order.
        case $((round % 3)) in
            0) order="direct plain explained" ;;
            1) order="plain explained direct" ;;
            2) order="explained direct plain" ;;
        esac
        for name in $order; do
            case $name in
                direct) measure direct "$port" "$mode" ;;
                plain) measure plain "$plain" "$mode" ;;
                explained) measure explained "$explained" "$mode" ;;
            esac
        done
    done
done
[ "$(grep -c 'autoexplain: digest' "$work/dpm.log" || true)" -eq 0 ] || fail "point selects were reported"

awk '
    function median(list, n,    i, j, t) {
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && list[j] < list[j - 1]; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
        return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    { key = $2 " " $1; n[key]++; average[key, n[key]] = $3; p95[key, n[key]] = $4; rate[key, n[key]] = $5 }
    function of(from, key,    i, list) {
        for (i = 1; i <= n[key]; i++) list[i] = from[key, i]
        return median(list, n[key])
    }
    END {
        printf "\n%-22s %12s %12s %12s   (medians)\n", "", "average ms", "p95 ms", "queries/s"
        split("auto disable", modes, " "); split("direct plain explained", names, " ")
        for (m = 1; m <= 2; m++) {
            label = modes[m] == "auto" ? "prepared" : "text"
            for (i = 1; i <= 3; i++) {
                key = modes[m] " " names[i]
                printf "%-10s%-12s %12.4f %12.4f %12.0f\n", label, names[i], of(average, key), of(p95, key), of(rate, key)
            }
            # The ratio of the two within the same round, so that other load on the machine affects both.
            plain = modes[m] " plain"; explained = modes[m] " explained"
            for (i = 1; i <= n[plain]; i++) {
                ratios[i] = average[explained, i] / average[plain, i]
                ratios95[i] = p95[explained, i] / p95[plain, i]
            }
            ratio = median(ratios, n[plain])
            count = n[plain] # and median() has sorted them
            printf "%-10sexplained / plain, by round: average %.3f (middle half %.3f to %.3f), p95 %.3f; at most 1.10\n", \
                label, ratio, ratios[int((count + 3) / 4)], ratios[int((3 * count + 3) / 4)], median(ratios95, count)
            printf "%-10sexplained / plain, of the medians above: average %.3f, p95 %.3f\n", label, \
                of(average, explained) / of(average, plain), of(p95, explained) / of(p95, plain)
            if (ratio > 1.10) missed = 1
        }
        exit missed
    }' "$work/results" || missed=yes

say "a planted full scan"
for literal in one two three; do
    client "$explained" sbtest -e "SELECT COUNT(*) FROM sbtest1 WHERE pad = '$literal'" >/dev/null
done
until_works "its report" grep -q 'autoexplain: digest.*full_scan' "$work/dpm.log"
grep 'autoexplain: digest' "$work/dpm.log"
[ "$(grep -c 'autoexplain: digest.*full_scan' "$work/dpm.log")" -eq 1 ] || fail "the full scan was reported more than once"
[ "${missed:-no}" = no ] || fail "auto-explain costs more than a tenth"
say "all checks passed"
