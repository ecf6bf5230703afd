#!/usr/bin/env bash
# Runs the drivers' own test suites directly and through the pool, while strangers take its connections away, and
# compares the results of each test (tests/matrix/suites.rs). Too long for CI. Arguments are names of suites.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh
# shellcheck source=tests/sid.sh
. tests/sid.sh
# shellcheck source=tests/matrix/setup.sh
. tests/matrix/setup.sh

say "what the suites need"
need_build_tools
need_mariadb
need flock util-linux
if need_sid mariadb11; then export DPM_TEST_SID=$SID_LANE; fi
need_suites
say "the suites"
DPM_MATRIX_SUITES=$(IFS=,; echo "$*")
export DPM_MATRIX_SUITES
exec cargo test --test matrix
