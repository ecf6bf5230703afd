#!/usr/bin/env bash
# Measures the query multiplexer against a pool of Python threads with PyMySQL that does the same job: SHOW
# GLOBAL STATUS of 8 private servers, MySQL and MariaDB, and of 100 more that a script simulates, in one
# answer. Options: --rounds N (20), --dpm FILE (the release build).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh
# shellcheck source=tests/sid.sh
. tests/sid.sh

need_build_tools
need_mariadb
/usr/bin/python3 -c 'import pymysql, cryptography' 2>/dev/null ||
    need_packages python3 python3-pymysql python3-cryptography
if need_sid; then
    export DPM_BENCH_MYSQL=$SID_LANE
else
    note "no MySQL: all servers are MariaDB's"
fi
case " $* " in
    *" --dpm "*) ;;
    *) CARGO_TERM_PROGRESS_WHEN=never cargo build --release --bin dpm ;;
esac
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/dpm-bench-XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
exec_status=0
/usr/bin/python3 benches/multiplexer/run.py "$@" || exec_status=$?
exit "$exec_status"
