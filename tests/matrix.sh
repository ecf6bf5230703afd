#!/usr/bin/env bash
# Compares the results of every client with every server, directly and through dpm. Installs what is
# missing into the cache, and builds. `--write` updates doc/COMPATIBILITY.md; names of clients (see
# tests/matrix/client.rs) restrict the run to these, DPM_MATRIX_WAYS=pool to the pool.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh
# shellcheck source=tests/sid.sh
. tests/sid.sh
# shellcheck source=tests/matrix/setup.sh
. tests/matrix/setup.sh

if [ "${1:-}" = --write ]; then
    export DPM_MATRIX_WRITE=1
    shift
fi
if [ $# -gt 0 ]; then
    DPM_MATRIX_CLIENTS=$(IFS=,; echo "$*")
    export DPM_MATRIX_CLIENTS
fi
say "what the matrix needs"
need_build_tools
need_mariadb
need flock util-linux
if need_sid mariadb11; then export DPM_TEST_SID=$SID_LANE; fi
need_matrix
say "the matrix"
exec cargo test --test matrix
