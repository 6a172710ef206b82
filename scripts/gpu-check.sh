#!/bin/sh
# gpu-check.sh: proves the CUDA backend on this machine's card, in under nine minutes and without a network: op table, golden
# models, compute-sanitizer, speed beside PyTorch. Writes one JSON report. Without a card it rehearses. See docs/cuda.md.
#
#     sh scripts/gpu-check.sh [--dry-run] [--quick] [--arch sm_90]        BUILD names the build folder, OUT the report's
set -eu
cd "$(dirname "$0")/.."
command -v python3 >/dev/null || { echo "gpu-check.sh: python3 is missing" >&2; exit 1; }
exec python3 scripts/gpu-check.py "$@"
