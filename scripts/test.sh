#!/bin/sh
# test.sh: installs what building and testing need, builds, and runs all tests.
set -eu
cd "$(dirname "$0")/.."
sh scripts/packages.sh test
make -j"$(nproc)" all tests >/dev/null
exec make test
