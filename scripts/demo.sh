#!/bin/sh
# demo.sh: from a bare Debian to a trained model that reads dialogues: installs what is missing, builds, and runs the three commands.
set -eu
cd "$(dirname "$0")/.."
sh scripts/packages.sh build
make -j"$(nproc)" all >/dev/null
exec make demo
