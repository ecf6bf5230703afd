#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test. Arguments go to the integration tests'
# runner: `tests/run.sh FILTER` runs the integration tests whose name contains FILTER, and nothing else.
# The tests start private servers on free ports in temporary folders, so several runs do not disturb
# each other.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh
# shellcheck source=tests/sid.sh
. tests/sid.sh
# shellcheck source=tests/matrix/setup.sh
. tests/matrix/setup.sh

work=$(mktemp -d "${TMPDIR:-/tmp}/dpm-run-XXXXXX")
trap 'rm -rf "$work"' EXIT
export DPM_TEST_SKIPS=$work/skips
: >"$DPM_TEST_SKIPS"
export CARGO_TERM_PROGRESS_WHEN=never
passed=0 failed=0 broken=() flaky=()

# run NAME COMMAND…: shows the command's output, and adds up the counts of the test runners in it.
run() {
    local name=$1 log=$work/$1.log status=0
    shift
    say "$name: $*"
    timeout --kill-after=20 2400 "$@" </dev/null 2>&1 | tee "$log" || status=$?
    # "test result: ok. 12 passed; 0 failed; …", one line for each test binary.
    passed=$((passed + $(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$log")))
    failed=$((failed + $(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$log")))
    [ "$status" -eq 0 ] || broken+=("$name")
}

# Runs the integration tests. Those that fail are run once more by themselves, on a machine that is quiet
# then: who passes now has met a race, is named in the summary, and is a bug to be found, but not what
# the rest of a long run is thrown away for.
run_integration() {
    local log=$work/integration.log names=()
    run integration cargo test --test integration -- --test-threads=4
    [[ " ${broken[*]} " == *" integration "* ]] || return 0
    mapfile -t names < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
    # None if the runner itself died; so many are no race.
    [ "${#names[@]}" -gt 0 ] && [ "${#names[@]}" -le 3 ] || return 0
    run again cargo test --test integration -- --test-threads=1 --exact "${names[@]}"
    [[ " ${broken[*]} " == *" again "* ]] && return 0
    flaky=("${names[@]}")
    unset "broken[-1]"
    failed=$((failed - ${#names[@]}))
}

# Runs the matrix. One or two clients that have got another answer are run once more, likewise.
run_matrix() {
    local log=$work/matrix.log names=() list
    run matrix cargo test --test matrix
    [[ " ${broken[*]} " == *" matrix "* ]] || return 0
    mapfile -t names < <(sed -n 's/^FAILED \([^ ]*\) × .*/\1/p' "$log" | sort -u)
    [ "${#names[@]}" -gt 0 ] && [ "${#names[@]}" -le 2 ] || return 0
    list=$(IFS=, && echo "${names[*]}")
    run matrix-again env DPM_MATRIX_CLIENTS="$list" cargo test --test matrix
    [[ " ${broken[*]} " == *" matrix-again "* ]] && return 0
    flaky+=("${names[@]/#/matrix, }")
    unset "broken[-1]"
    failed=$((failed - $(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$log")))
}

say "what the tests need"
need_build_tools
need_mariadb
need_galera
need mariadb-dump mariadb-client
need mariadb-admin mariadb-client
need flock util-linux
need_haproxy
need_prometheus
need_browser
need_otlp
compgen -G "/usr/lib/*/lua/5.1/cjson.so" >/dev/null || need_packages lua-cjson
/usr/bin/python3 -c 'import pymysql, cryptography' 2>/dev/null ||
    need_packages python3 python3-pymysql python3-cryptography
/usr/bin/python3 -c 'import django, sqlalchemy, MySQLdb' 2>/dev/null ||
    need_packages python3-django python3-sqlalchemy python3-mysqldb
# Integration tests run applications made with the matrix's clients.
need_matrix
note "MariaDB: $(mariadbd --version | sed 's/.*Ver //')"
if need_sid mariadb11; then
    export DPM_TEST_SID=$SID_LANE
    note "MySQL: $(sid_version mysqld)"
    note "MariaDB beside it: $(sid_version mariadbd)"
else
    # Tests that need these servers count themselves as skipped.
    printf '\n!!!! Debian sid could not be installed completely: tests that need a missing MySQL 9.7 or MariaDB 11 are SKIPPED. !!!!\n'
fi

if [ $# -gt 0 ]; then
    run integration cargo test --test integration -- --test-threads=4 "$@"
else
    run fmt cargo fmt --all --check
    run fmt-of-fuzz cargo fmt --manifest-path fuzz/Cargo.toml --check
    run clippy cargo clippy --all-targets -- -D warnings
    # The proxy without Lua, for programs in Rust.
    run without-lua cargo clippy --no-default-features --lib --example embed -- -D warnings
    run units cargo test --lib --bins --examples
    run checked cargo test --profile checked --lib
    run_integration
    run scale cargo test --test scale -- --test-threads=1
    run layers cargo test --test layers
    run allocations cargo test --test allocations
    run pool cargo test --test pool
    run_matrix
    run doc cargo test --doc
    run fuzz bash tests/fuzz.sh 60
    run soak bash tests/soak.sh 2
fi

say "summary"
skipped=$(sort -u "$DPM_TEST_SKIPS" | wc -l)
# A skipped test returns early, so its runner has counted it as passed.
passed=$((passed - skipped))
if [ "$skipped" -gt 0 ]; then
    note "skipped:"
    sort -u "$DPM_TEST_SKIPS" | sed 's/^/   - /'
fi
for name in "${flaky[@]}"; do note "FLAKY: $name failed, and passed when it ran alone"; done
for name in "${broken[@]}"; do note "FAILED: $name"; done
if [ "${#broken[@]}" -gt 0 ] && [ "$failed" -eq 0 ]; then failed=${#broken[@]}; fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "${#broken[@]}" -eq 0 ]
