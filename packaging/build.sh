#!/usr/bin/env bash
# Builds the Debian package: packaging/build.sh [PROFILE [OPTION OF cargo deb…]]. It is in target/debian/ then.
# PROFILE is cargo's (release without one); what is built of it already is not built again.
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-release}
shift || true
target=${CARGO_TARGET_DIR:-target}
folder=$target/$profile
[ "$profile" != dev ] || folder=$target/debug

command -v cargo-deb >/dev/null || {
    echo "cargo-deb is missing: cargo install cargo-deb --locked" >&2
    exit 1
}
cargo build --locked --profile "$profile" --bin dpm
mkdir -p target/packaging
for what in man:dpm.1 bash:dpm zsh:_dpm fish:dpm.fish; do
    "$folder/dpm" --generate "${what%%:*}" >"target/packaging/${what#*:}"
done
cargo deb --locked --no-build --profile "$profile" "$@"
