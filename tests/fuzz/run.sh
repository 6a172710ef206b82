#!/bin/sh
# run.sh: builds every libFuzzer target with clang and runs each for SECONDS (60), starting from the fixtures.
set -eu
cd "$(dirname "$0")/../.."
seconds=${SECONDS_EACH:-60}
build=build/fuzz
mkdir -p "$build"
flags="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined"
make -j"$(nproc)" CC=clang BUILD="$build" VARIANT_FLAGS="$flags" CFLAGS="-O1 -g" ISAS=generic "$build/libbertft.a" >/dev/null
libraries="$(pkg-config --libs yaml-0.1 zlib libutf8proc jansson) -ldl -lm -pthread"
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    mkdir -p "$build/corpus/$name"
    seeds=tests/fuzz/seeds/$name
    [ -d "$seeds" ] || seeds=tests/fixtures/weights
    # shellcheck disable=SC2086
    clang -std=c11 -D_GNU_SOURCE -Iinclude -Isrc -I. -O1 -g -fsanitize=fuzzer,address,undefined \
        -fno-sanitize-recover=undefined -o "$build/$name" "$source" "$build/libbertft.a" $libraries
    "$build/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2000 -print_final_stats=1 \
        "$build/corpus/$name" "$seeds"
done
