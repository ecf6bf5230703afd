#!/usr/bin/env bash
# Measures what an idle connection costs the proxy in memory, everything counted: resident with 8,000 clients less
# resident with 1,000, a client. Options: --kinds a,b,… (all), --few N (1000), --many N (8000), --dpm FILE (the
# release build).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

need python3 python3
need openssl openssl
case " $* " in
    *" --dpm "*) ;;
    *)
        need_build_tools
        CARGO_TERM_PROGRESS_WHEN=never cargo build --release --bin dpm
        ;;
esac
TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/dpm-memory-XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
python3 benches/memory/run.py "$@"
