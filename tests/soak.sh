#!/usr/bin/env bash
# Real servers, drivers and plug-ins under load for so many minutes, while servers are killed and frozen and
# connections are cut; each answer is checked by its values:
#     tests/soak.sh [MINUTES [SEED]]
# Two minutes if not said. A seed repeats what a run has done to the servers and connections. If it fails, what
# happened and the logs are kept in the folder that it names. doc/TESTING.md says more.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh
# shellcheck source=tests/sid.sh
. tests/sid.sh

say "what the soak needs"
need_build_tools
need_mariadb
/usr/bin/python3 -c 'import pymysql, cryptography' 2>/dev/null ||
    need_packages python3 python3-pymysql python3-cryptography
if need_sid mariadb11; then
    export DPM_TEST_SID=$SID_LANE
else
    note "without MySQL, which could not be installed"
fi

export DPM_SOAK_SECONDS=$((${1:-2} * 60))
if [ $# -gt 1 ]; then export DPM_SOAK_SEED=$2; fi
say "the soak"
exec cargo test --test soak -- --test-threads=1 --nocapture
