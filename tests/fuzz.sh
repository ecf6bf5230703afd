#!/usr/bin/env bash
# Runs the fuzz targets in fuzz/ one after the other, for so many seconds in all:
#     tests/fuzz.sh [SECONDS [TARGET…]]
# A minute if not said. Each target begins with the seeds that fuzz/seeds.pl makes from the recorded sessions
# and from fuzz/corpus. What it finds new is kept in fuzz/target/found, and the best of that is added to
# fuzz/corpus by
#     tests/fuzz.sh --minimise [TARGET…]
# An input that fails is kept, too, and the command that runs it alone is shown. doc/TESTING.md says more.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/setup.sh
. tests/setup.sh

# Where the compiler's coverage pass is switched on. With --target it is on for the library and its
# dependencies, and not for what runs while they are built.
triple=$(rustc -vV | sed -n 's/^host: //p')
pass="--cfg fuzzing -Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    pass+=" -Cllvm-args=-sanitizer-coverage-$option"
done
programs=fuzz/target/$triple/debug
found=fuzz/target/found
seeds=fuzz/target/seeds
failures=fuzz/target/failures

mapfile -t targets < <(sed -n 's/^path = "fuzz_targets\/\(.*\)\.rs"$/\1/p' fuzz/Cargo.toml)

# How many bytes of inputs fuzz/corpus has of a target, at most.
room=40000

# fuzz TARGET SECONDS: runs one target. The limits are far from what any input of this size should take.
fuzz() {
    local target=$1 status=0 log=fuzz/target/$1.log
    mkdir -p "$found/$target"
    nice -n 19 "$programs/$target" "$found/$target" "$seeds/$target" \
        -max_total_time="$2" -timeout=5 -rss_limit_mb=1024 -max_len=8192 \
        -artifact_prefix="$failures/$target-" -print_final_stats=1 >"$log" 2>&1 </dev/null || status=$?
    if [ "$status" -eq 0 ]; then
        note "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $2 s," \
            "$(sed -n 's/.* cov: \([0-9]*\) .* corp: \([^ ]*\) .*/\1 edges, corpus \2/p' "$log" | tail -n 1)"
        return
    fi
    note "$target FAILED:"
    grep -aE -A4 'panicked at|ERROR: libFuzzer' "$log" | sed 's/^/   | /' | head -n 30
    local input
    input=$(sed -n "s/.*Test unit written to //p" "$log" | tail -n 1)
    note "the whole log: $PWD/$log"
    [ -z "$input" ] || note "again: $programs/$target $input"
    failed+=("$target")
}

say "the fuzz targets"
need_build_tools
need c++ g++
need perl perl-base
(
    cd fuzz
    RUSTFLAGS="${RUSTFLAGS:-} $pass" step "building" cargo build --target "$triple" --bins
) || fail "the fuzz targets do not build"
rm -rf "$seeds"
mkdir -p "$seeds" "$failures"
perl fuzz/seeds.pl "$seeds"

# minimise TARGET: what covers most in the fewest bytes, beside the seeds from the recordings.
minimise() {
    local target=$1 fresh
    fresh=$(mktemp -d "$PWD/fuzz/target/minimised-XXXXXX")
    mkdir -p "$found/$target"
    cp "$seeds/$target"/seed-* "$fresh/"
    step "minimising $target" "$programs/$target" -merge=1 -max_len=8192 "$fresh" "$found/$target" "$seeds/$target"
    find "$fresh" -type f ! -name 'seed-*' -printf '%s %p\n' | sort -n | cut -d ' ' -f 2 |
        perl -ne 'chomp; open my $file, "<:raw", $_ or die "$_: $!";
            my $bytes = join "", <$file>;
            next if ($sum += length $bytes) > '$room';
            print unpack("H*", $bytes), "\n"' >"fuzz/corpus/$target.txt"
    rm -rf "$fresh"
    note "$target: $(wc -l <"fuzz/corpus/$target.txt") inputs"
}

if [ "${1:-}" = --minimise ]; then
    shift
    [ $# -eq 0 ] || targets=("$@")
    mkdir -p fuzz/corpus
    for target in "${targets[@]}"; do minimise "$target"; done
    exit
fi

seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -eq 0 ] || targets=("$@")
each=$((seconds / ${#targets[@]}))
[ "$each" -gt 0 ] || each=1
failed=()
say "fuzzing ${#targets[@]} targets for $each s each"
for target in "${targets[@]}"; do fuzz "$target" "$each"; done
[ "${#failed[@]}" -eq 0 ] || fail "failed: ${failed[*]}"
