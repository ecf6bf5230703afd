#!/usr/bin/env bash
# What is too long for CI: the Debian package (tests/package.sh), the tests of scale (tests/scale) with as many
# clients as descriptors allow, up to 9,000, before the release build, half an hour of a fleet whose servers die, and
# 300,000 statements of random sessions through a pool on each server (DPM_POOL_SEED is their seed, a random one by
# default). Prints a table at the end.
# Arguments are filters: `tests/long.sh passthrough` runs the tests of scale whose names contain that, and
# nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

say "what the tests need"
need_build_tools
ulimit -n "$(ulimit -Hn)"
descriptors=$(ulimit -n)
if [ "$descriptors" = unlimited ]; then descriptors=1000000; fi
# Each client and its server have a descriptor in the process of the tests, and so they have in dpm.
clients=$(((descriptors - 1000) / 2))
if [ "$clients" -gt 9000 ]; then clients=9000; fi
note "$descriptors descriptors: $clients clients"
work=$(mktemp -d "${TMPDIR:-/tmp}/dpm-long-XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=()

# run NAME COMMAND…: shows its output, and keeps it for the table.
run() {
    local name=$1
    shift
    say "$name: $*"
    timeout --kill-after=20 3600 "$@" </dev/null 2>&1 | tee -a "$work/log" || failed+=("$name")
}

run build cargo build --release --bin dpm
export DPM_TEST_PROGRAM=$PWD/target/release/dpm DPM_SCALE=$clients
run scale cargo test --test scale -- --test-threads=1 --nocapture "$@"
if [ $# -eq 0 ]; then
    run package tests/package.sh release
    need_mariadb
    DPM_SOAK_SECONDS=1800 run fleet cargo test --test integration -- --nocapture \
        multiplexer::rows_are_of_the_right_server_and_round_whatever_happens
    # shellcheck source=tests/sid.sh
    . tests/sid.sh
    if need_sid mariadb11; then export DPM_TEST_SID=$SID_LANE; fi
    export DPM_POOL_STATEMENTS=${DPM_POOL_STATEMENTS:-300000} DPM_POOL_SEED=${DPM_POOL_SEED:-$RANDOM}
    note "random sessions: seed $DPM_POOL_SEED, $DPM_POOL_STATEMENTS statements on each server"
    for server in mariadb mariadb11 mysql; do
        run "pool-$server" cargo test --test pool -- --nocapture --exact \
            "pooled_clients_see_what_direct_ones_see::$server"
    done
fi

say "figures"
sed -n 's/^.*SCALE | //p' "$work/log" | column -t -s '|'
grep -h ' missing; Lua ' "$work/log" || true
grep -h 'equal while it learnt' "$work/log" || true
for name in "${failed[@]}"; do note "FAILED: $name"; done
[ "${#failed[@]}" -eq 0 ]
